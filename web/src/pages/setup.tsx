import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { setUp, setupQuery } from '@/api/queries';
import { enterSession } from '@/app/session';
import { takeToken } from '@/lib/fragment';
import { t } from '@/lib/i18n';
import { Button, buttonClass } from '@/ui/button';
import { CodeBlock } from '@/ui/copy';
import { Input } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { Note } from '@/ui/states';
import { AccountFrame } from './account-frame';
import { checkPassword, NewPassword, PASSWORD_MIN } from './new-password';

/** The first start: the link that the server has printed makes its owner. */
export default function Setup() {
  const [token] = useState(takeToken);
  const { data } = useQuery(setupQuery);
  if (data && !data.is_needed)
    return (
      <AccountFrame title={t('setup.done')} intro={t('setup.done_hint')}>
        <Link to="/login" className={buttonClass('primary', 'lg')}>
          {t('login.submit')}
        </Link>
      </AccountFrame>
    );
  if (!token)
    return (
      <AccountFrame title={t('setup.no_token')} intro={t('setup.no_token_hint')}>
        <CodeBlock code="catalyst serve --data DIR" label={t('setup.no_token')} />
        <p className="mt-4 text-sm text-ink-2">{t('setup.no_token_more')}</p>
      </AccountFrame>
    );
  return <SetupForm token={token} />;
}

function SetupForm({ token }: { token: string }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({
    initial: { name: '', email: '', password: '', workspace_name: '' },
    check: (values) => ({
      name: required(values.name),
      email: required(values.email),
      password: checkPassword(values.password),
      workspace_name: required(values.workspace_name),
    }),
    submit: async (values) => {
      const { csrf_token } = await setUp({
        token,
        name: values.name.trim(),
        email: values.email.trim(),
        password: values.password,
        workspace_name: values.workspace_name.trim(),
      });
      enterSession(csrf_token, client);
      await navigate({ to: '/' });
    },
  });
  return (
    <AccountFrame title={t('setup.title')} intro={t('setup.intro')}>
      <Form form={form}>
        <FormField form={form} name="name" label={t('account.name')} isRequired>
          {(control) => (
            <Input
              {...control}
              autoFocus
              autoComplete="name"
              onChange={(e) => form.set('name', e.target.value)}
            />
          )}
        </FormField>
        <FormField form={form} name="email" label={t('account.email')} isRequired>
          {(control) => (
            <Input
              {...control}
              type="email"
              autoComplete="username"
              onChange={(e) => form.set('email', e.target.value)}
            />
          )}
        </FormField>
        <FormField
          form={form}
          name="password"
          label={t('account.password')}
          hint={t('password.hint', { min: PASSWORD_MIN })}
          isRequired
        >
          {(control) => <NewPassword {...control} onChange={(e) => form.set('password', e.target.value)} />}
        </FormField>
        <FormField
          form={form}
          name="workspace_name"
          label={t('setup.workspace')}
          hint={t('setup.workspace_hint')}
          isRequired
        >
          {(control) => (
            <Input
              {...control}
              autoComplete="organization"
              onChange={(e) => form.set('workspace_name', e.target.value)}
            />
          )}
        </FormField>
        <Button type="submit" variant="primary" size="lg" className="mt-2" isBusy={form.isBusy}>
          {t('setup.submit')}
        </Button>
        <Note tone="info">{t('setup.private')}</Note>
      </Form>
    </AccountFrame>
  );
}
