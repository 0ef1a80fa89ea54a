import { type ReactNode, useState } from 'react';
import { finishSignIn, passkeyForSignIn } from '@/api/queries';
import type { SignedIn, SignIn } from '@/api/types';
import { t } from '@/lib/i18n';
import { askPasskey, canPasskeys } from '@/lib/passkeys';
import { Button } from '@/ui/button';
import { Dialog } from '@/ui/dialog';
import { Input } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';

interface Pending {
  answer: SignIn;
  resolve: (signedIn: SignedIn) => void;
  reject: (reason: unknown) => void;
}

/** The rest of a sign-in: `complete` gives the session, after asking for a second factor when the account has one;
 *  `dialog` has to stand in the page. */
export function useSecondStep(): { dialog: ReactNode; complete: (answer: SignIn) => Promise<SignedIn> } {
  const [pending, setPending] = useState<Pending | null>(null);
  const complete = (answer: SignIn) =>
    answer.user && answer.csrf_token !== null
      ? Promise.resolve({ user: answer.user, csrf_token: answer.csrf_token })
      : new Promise<SignedIn>((resolve, reject) => setPending({ answer, resolve, reject }));
  return {
    complete,
    dialog: pending ? <SecondStep pending={pending} onDone={() => setPending(null)} /> : null,
  };
}

function SecondStep({ pending, onDone }: { pending: Pending; onDone: () => void }) {
  const { answer } = pending;
  const transaction = answer.transaction ?? '';
  const hasPasskey = answer.factors.includes('passkey') && canPasskeys();
  const hasCode = answer.factors.some((factor) => factor !== 'passkey');
  const done = (signedIn: SignedIn) => {
    onDone();
    pending.resolve(signedIn);
  };
  const form = useForm({
    initial: { code: '' },
    check: ({ code }) => ({ code: required(code) }),
    submit: async ({ code }) => {
      // Six digits are of an app; everything else can only be a recovery code.
      const isOfApp = /^[\d ]{6,8}$/.test(code.trim());
      done(await finishSignIn(isOfApp ? { transaction, code } : { transaction, recovery_code: code }));
    },
  });
  const passkey = useForm({
    initial: {},
    submit: async () => {
      const { options } = await passkeyForSignIn(transaction);
      done(await finishSignIn({ transaction, passkey: await askPasskey(options) }));
    },
  });
  return (
    <Dialog
      isOpen
      onClose={() => {
        onDone();
        pending.reject(new Error(t('second.left')));
      }}
      size="sm"
      title={t('second.title')}
      description={t('second.hint')}
    >
      {hasPasskey && (
        <Form form={passkey}>
          <Button type="submit" variant={hasCode ? 'plain' : 'primary'} isBusy={passkey.isBusy}>
            {t('second.passkey')}
          </Button>
        </Form>
      )}
      {hasCode && (
        <Form form={form}>
          <FormField form={form} name="code" label={t('second.code')} hint={t('second.code_hint')} isRequired>
            {(control) => (
              <Input
                {...control}
                autoFocus
                autoComplete="one-time-code"
                onChange={(event) => form.set('code', event.target.value)}
              />
            )}
          </FormField>
          <div className="flex justify-end">
            <Button type="submit" variant="primary" isBusy={form.isBusy}>
              {t('second.submit')}
            </Button>
          </div>
        </Form>
      )}
    </Dialog>
  );
}
