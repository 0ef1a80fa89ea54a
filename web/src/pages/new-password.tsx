import clsx from 'clsx';
import type { InputHTMLAttributes } from 'react';
import { t } from '@/lib/i18n';
import { SecretInput } from '@/ui/field';

export const PASSWORD_MIN = 15;

export function checkPassword(password: string): string | undefined {
  const n = [...password].length;
  return n < PASSWORD_MIN ? t('password.short', { min: PASSWORD_MIN, n }) : undefined;
}

/** A new password with how far it still is from being long enough. */
export function NewPassword(props: InputHTMLAttributes<HTMLInputElement> & { value: string }) {
  const n = [...props.value].length;
  const part = Math.min(1, n / PASSWORD_MIN);
  return (
    <div>
      <SecretInput {...props} autoComplete="new-password" />
      <div aria-hidden className="mt-1.5 h-1 overflow-hidden rounded-full bg-pressed">
        <div
          className={clsx('h-full rounded-full transition-[width]', part < 1 ? 'bg-copper-fill' : 'bg-good')}
          style={{ width: `${part * 100}%` }}
        />
      </div>
    </div>
  );
}
