import { useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { sessionEnded } from '@/api/client';
import { signIn } from '@/api/queries';
import { useSecondStep } from '@/app/second-step';
import { enterSession } from '@/app/session';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { Input, SecretInput } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { AccountFrame } from './account-frame';

export default function Login() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const { next } = useSearch({ from: '/login' });
  const { dialog, complete } = useSecondStep();
  const form = useForm({
    initial: { email: '', password: '' },
    check: (values) => ({ email: required(values.email), password: required(values.password) }),
    submit: async (values) => {
      const answer = await signIn({ email: values.email.trim(), password: values.password });
      const { csrf_token } = await complete(answer);
      sessionEnded.set(0);
      enterSession(csrf_token, client);
      // Back to where one wanted to go, which is always a place of this page.
      if (next?.startsWith('/') && !next.startsWith('//')) await navigate({ href: next } as never);
      else await navigate({ to: '/' });
    },
  });
  return (
    <AccountFrame title={t('login.title')} intro={next ? t('login.next') : t('login.intro')}>
      <Form form={form}>
        <FormField form={form} name="email" label={t('account.email')} isRequired>
          {(control) => (
            <Input
              {...control}
              type="email"
              autoFocus
              autoComplete="username"
              onChange={(e) => form.set('email', e.target.value)}
            />
          )}
        </FormField>
        <FormField form={form} name="password" label={t('account.password')} isRequired>
          {(control) => (
            <SecretInput
              {...control}
              autoComplete="current-password"
              onChange={(e) => form.set('password', e.target.value)}
            />
          )}
        </FormField>
        <Button type="submit" variant="primary" size="lg" className="mt-2" isBusy={form.isBusy}>
          {t('login.submit')}
        </Button>
        <p className="text-xs text-ink-3">{t('login.lost')}</p>
      </Form>
      {dialog}
    </AccountFrame>
  );
}
