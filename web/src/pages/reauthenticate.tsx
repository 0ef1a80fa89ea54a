import { useCallback, useRef, useState } from 'react';
import { ApiError } from '@/api/client';
import { reauthenticate } from '@/api/queries';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { Dialog } from '@/ui/dialog';
import { SecretInput } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';

/** Some things are only done shortly after the password was given: asks for it again, then does them. */
export function useReauthentication() {
  const [isAsking, setIsAsking] = useState(false);
  const waiting = useRef<{ go: () => void; stop: () => void } | null>(null);
  const run = useCallback(async <T,>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ApiError) || !/reauthentic/.test(error.code)) throw error;
      await new Promise<void>((go, reject) => {
        waiting.current = { go, stop: () => reject(error) };
        setIsAsking(true);
      });
      return work();
    }
  }, []);
  return { isAsking, setIsAsking, waiting, run };
}

export function ReauthenticateDialog({ state }: { state: ReturnType<typeof useReauthentication> }) {
  const close = (isDone: boolean) => {
    state.setIsAsking(false);
    if (isDone) state.waiting.current?.go();
    else state.waiting.current?.stop();
    state.waiting.current = null;
  };
  const form = useForm({
    initial: { password: '' },
    check: (values) => ({ password: required(values.password) }),
    submit: async ({ password }) => {
      await reauthenticate(password);
      form.reset();
      close(true);
    },
  });
  return (
    <Dialog
      isOpen={state.isAsking}
      onClose={() => close(false)}
      size="sm"
      title={t('reauth.title')}
      description={t('reauth.hint')}
    >
      <Form form={form}>
        <FormField form={form} name="password" label={t('again.password')} isRequired>
          {(control) => (
            <SecretInput
              {...control}
              autoFocus
              autoComplete="current-password"
              onChange={(e) => form.set('password', e.target.value)}
            />
          )}
        </FormField>
        <div className="flex justify-end gap-2">
          <Button onClick={() => close(false)}>{t('action.cancel')}</Button>
          <Button type="submit" variant="primary" isBusy={form.isBusy}>
            {t('reauth.submit')}
          </Button>
        </div>
      </Form>
    </Dialog>
  );
}
