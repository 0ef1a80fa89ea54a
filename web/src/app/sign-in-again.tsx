import { useQueryClient } from '@tanstack/react-query';
import { credentials, sessionEnded } from '@/api/client';
import { signIn } from '@/api/queries';
import type { Me } from '@/api/types';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { Dialog } from '@/ui/dialog';
import { SecretInput } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { useSecondStep } from './second-step';
import { useSignOut } from './shell';

/** The session has ended while somebody was working: the page behind stays as it is, what was typed included. */
export default function SignInAgain({ me }: { me: Me }) {
  const client = useQueryClient();
  const leave = useSignOut();
  const { dialog, complete } = useSecondStep();
  const form = useForm({
    initial: { password: '' },
    check: (values) => ({ password: required(values.password) }),
    submit: async ({ password }) => {
      const { csrf_token } = await complete(await signIn({ email: me.user.email, password }));
      credentials.csrf = csrf_token;
      sessionEnded.set(0);
      await client.invalidateQueries();
    },
  });
  return (
    <Dialog
      isOpen
      onClose={() => undefined}
      isModalOnly
      size="sm"
      title={t('again.title')}
      description={t('again.hint')}
    >
      <Form form={form}>
        <p className="text-sm text-ink-2">{t('again.as', { email: me.user.email })}</p>
        <FormField form={form} name="password" label={t('again.password')} isRequired>
          {({ value, ...control }) => (
            <SecretInput
              {...control}
              autoFocus
              autoComplete="current-password"
              value={value}
              onChange={(event) => form.set('password', event.target.value)}
            />
          )}
        </FormField>
        <div className="flex justify-end gap-2">
          <Button
            onClick={() => {
              sessionEnded.set(0);
              void leave();
            }}
          >
            {t('again.other')}
          </Button>
          <Button type="submit" variant="primary" isBusy={form.isBusy}>
            {t('again.submit')}
          </Button>
        </div>
      </Form>
      {dialog}
    </Dialog>
  );
}
