import clsx from 'clsx';
import { LoaderCircle, type LucideIcon } from 'lucide-react';
import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react';

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  variant?: 'primary' | 'plain' | 'ghost' | 'danger';
  size?: 'sm' | 'md' | 'lg';
  icon?: LucideIcon;
  /** Work is under way: the button keeps its place and the focus, and takes no second press. */
  isBusy?: boolean;
  /** An icon alone: what it does, for everybody who does not see it. */
  label?: string;
  children?: ReactNode;
  ref?: Ref<HTMLButtonElement>;
}

export function buttonClass(
  variant: ButtonProps['variant'] = 'plain',
  size: ButtonProps['size'] = 'md',
  isIcon = false,
) {
  return clsx('btn', `btn-${variant}`, size !== 'md' && `btn-${size}`, isIcon && 'btn-icon');
}

export function Button(props: ButtonProps) {
  const {
    variant,
    size,
    icon: Icon,
    isBusy,
    label,
    children,
    className,
    onClick,
    type = 'button',
    ...rest
  } = props;
  return (
    <button
      {...rest}
      type={type}
      className={clsx(buttonClass(variant, size, !children), className)}
      aria-label={label}
      title={rest.title ?? (children ? undefined : label)}
      aria-disabled={isBusy || undefined}
      aria-busy={isBusy || undefined}
      onClick={(event) => {
        if (isBusy) event.preventDefault();
        else onClick?.(event);
      }}
    >
      {isBusy ? (
        <LoaderCircle className="animate-spin" aria-hidden />
      ) : Icon ? (
        <Icon aria-hidden strokeWidth={1.75} />
      ) : null}
      {children}
    </button>
  );
}
