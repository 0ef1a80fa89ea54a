import clsx from 'clsx';
import { CircleAlert, Eye, EyeOff } from 'lucide-react';
import {
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  type TextareaHTMLAttributes,
  useId,
  useState,
} from 'react';
import { t } from '@/lib/i18n';

/** What ties a control to its label, hint and error. */
export interface ControlProps {
  id: string;
  'aria-describedby': string | undefined;
  'aria-invalid': true | undefined;
  required: boolean | undefined;
}

export function Field(props: {
  label: ReactNode;
  hint?: ReactNode;
  error?: string | undefined;
  isRequired?: boolean | undefined;
  isLabelHidden?: boolean;
  className?: string | undefined;
  children: (control: ControlProps) => ReactNode;
}) {
  const id = useId();
  const hintId = `${id}-hint`;
  const errorId = `${id}-error`;
  const described = [props.error && errorId, props.hint && hintId].filter(Boolean).join(' ');
  return (
    <div className={clsx('flex min-w-0 flex-col gap-1.5', props.className)}>
      <label htmlFor={id} className={props.isLabelHidden ? 'sr-only' : 'text-sm font-medium text-ink'}>
        {props.label}
        {!props.isRequired && !props.isLabelHidden && (
          <span className="ms-1.5 font-normal text-ink-3">{t('field.optional')}</span>
        )}
      </label>
      {props.children({
        id,
        'aria-describedby': described || undefined,
        'aria-invalid': props.error ? true : undefined,
        required: props.isRequired || undefined,
      })}
      {props.error && (
        <p id={errorId} className="flex items-start gap-1.5 text-xs text-bad">
          <CircleAlert aria-hidden className="mt-px size-3.5 flex-none" />
          {props.error}
        </p>
      )}
      {props.hint && (
        <p id={hintId} className="text-xs text-ink-3">
          {props.hint}
        </p>
      )}
    </div>
  );
}

export function Input({ className, ...rest }: InputHTMLAttributes<HTMLInputElement>) {
  return <input {...rest} className={clsx('input', className)} />;
}

export function Textarea({ className, ...rest }: TextareaHTMLAttributes<HTMLTextAreaElement>) {
  return <textarea {...rest} className={clsx('input', className)} />;
}

export function Select({
  options,
  className,
  ...rest
}: SelectHTMLAttributes<HTMLSelectElement> & { options: { value: string; label: string }[] }) {
  return (
    <select {...rest} className={clsx('input', className)}>
      {options.map((option) => (
        <option key={option.value} value={option.value}>
          {option.label}
        </option>
      ))}
    </select>
  );
}

/** A secret that one types: hidden, can be looked at. */
export function SecretInput(props: InputHTMLAttributes<HTMLInputElement>) {
  const [isShown, setIsShown] = useState(false);
  const Icon = isShown ? EyeOff : Eye;
  return (
    <div className="relative">
      <Input spellCheck={false} {...props} type={isShown ? 'text' : 'password'} className="pe-10" />
      <button
        type="button"
        className="absolute inset-y-0 end-0 grid w-9 place-items-center text-ink-3 hover:text-ink"
        aria-label={t(isShown ? 'field.hide' : 'field.show')}
        aria-pressed={isShown}
        onClick={() => setIsShown(!isShown)}
      >
        <Icon aria-hidden className="size-4" strokeWidth={1.75} />
      </button>
    </div>
  );
}

export function Checkbox({
  label,
  hint,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { label: ReactNode; hint?: ReactNode }) {
  const id = useId();
  return (
    <div className="flex items-start gap-2.5">
      <input
        {...rest}
        type={rest.type ?? 'checkbox'}
        id={id}
        aria-describedby={hint ? `${id}-hint` : undefined}
        className="check mt-0.5"
      />
      <div className="min-w-0">
        <label htmlFor={id} className="text-sm text-ink">
          {label}
        </label>
        {hint && (
          <p id={`${id}-hint`} className="text-xs text-ink-3">
            {hint}
          </p>
        )}
      </div>
    </div>
  );
}

/** A choice between few things that are all worth seeing. */
export function Choice<T extends string>(props: {
  label: string;
  value: T;
  options: { value: T; label: ReactNode; hint?: ReactNode }[];
  onChange: (value: T) => void;
}) {
  const name = useId();
  return (
    <fieldset className="min-w-0">
      <legend className="mb-1.5 text-sm font-medium text-ink">{props.label}</legend>
      <div className="flex flex-wrap gap-1 rounded-lg border border-line bg-sunken p-1">
        {props.options.map((option) => (
          <label
            key={option.value}
            className="flex min-h-7 flex-1 cursor-pointer items-center justify-center rounded-md px-3 text-sm whitespace-nowrap text-ink-2 has-checked:bg-raised has-checked:font-medium has-checked:text-ink has-checked:shadow-1 has-checked:outline has-checked:outline-line has-focus-visible:outline-2 has-focus-visible:outline-[var(--focus)]"
          >
            <input
              type="radio"
              className="sr-only"
              name={name}
              value={option.value}
              checked={props.value === option.value}
              onChange={() => props.onChange(option.value)}
            />
            {option.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
