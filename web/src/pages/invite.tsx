import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { credentials } from '@/api/client';
import { acceptInvitation, meQuery, offerQuery, signIn } from '@/api/queries';
import type { InvitationOffer } from '@/api/types';
import { useSecondStep } from '@/app/second-step';
import { enterSession } from '@/app/session';
import { takeToken } from '@/lib/fragment';
import { t, tMaybe } from '@/lib/i18n';
import { Button, buttonClass } from '@/ui/button';
import { Input, SecretInput } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { Note, Skeleton } from '@/ui/states';
import { AccountFrame } from './account-frame';
import { checkPassword, NewPassword, PASSWORD_MIN } from './new-password';

/** Somebody was invited: a new account, or the one they have. */
export default function Invite() {
  const [token] = useState(takeToken);
  const offer = useQuery({ ...offerQuery(token), enabled: token !== '' });
  if (!token || offer.isError)
    return (
      <AccountFrame title={t('invite.gone')} intro={t('invite.gone_hint')}>
        <Link to="/login" className={buttonClass('plain', 'lg')}>
          {t('login.submit')}
        </Link>
      </AccountFrame>
    );
  if (!offer.data)
    return (
      <AccountFrame title={t('invite.loading')}>
        <Skeleton className="h-32" />
      </AccountFrame>
    );
  return <Accept token={token} offer={offer.data} />;
}

function Accept({ token, offer }: { token: string; offer: InvitationOffer }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const { data: me } = useQuery(meQuery);
  const isThisPerson = me?.user.email.toLowerCase() === offer.email.toLowerCase();
  const isNew = !offer.has_account;
  const { dialog, complete } = useSecondStep();
  const form = useForm({
    initial: { name: '', password: '' },
    check: (values) => ({
      name: isNew ? required(values.name) : undefined,
      password: isThisPerson ? undefined : isNew ? checkPassword(values.password) : required(values.password),
    }),
    submit: async (values) => {
      if (isThisPerson && me) credentials.csrf = me.csrf_token ?? '';
      else if (!isNew) {
        const answer = await signIn({ email: offer.email, password: values.password });
        const { csrf_token } = await complete(answer);
        credentials.csrf = csrf_token;
      }
      const answer = await acceptInvitation(
        token,
        isNew ? { name: values.name.trim(), password: values.password } : {},
      );
      enterSession(answer.csrf_token, client);
      await navigate({ to: '/' });
    },
  });
  const role = tMaybe(`role.${offer.role}`, offer.role);
  return (
    <AccountFrame
      title={t('invite.title', { workspace: offer.workspace_name })}
      intro={t('invite.intro', { email: offer.email, role })}
    >
      <Form form={form}>
        {me && !isThisPerson && <Note tone="warn">{t('invite.other_person', { email: me.user.email })}</Note>}
        {isNew && (
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
        )}
        {isNew ? (
          <FormField
            form={form}
            name="password"
            label={t('account.password')}
            hint={t('password.hint', { min: PASSWORD_MIN })}
            isRequired
          >
            {(control) => <NewPassword {...control} onChange={(e) => form.set('password', e.target.value)} />}
          </FormField>
        ) : (
          !isThisPerson && (
            <FormField form={form} name="password" label={t('invite.your_password')} isRequired>
              {(control) => (
                <SecretInput
                  {...control}
                  autoFocus
                  autoComplete="current-password"
                  onChange={(e) => form.set('password', e.target.value)}
                />
              )}
            </FormField>
          )
        )}
        <Button type="submit" variant="primary" size="lg" className="mt-2" isBusy={form.isBusy}>
          {t('invite.submit')}
        </Button>
      </Form>
      {dialog}
    </AccountFrame>
  );
}
