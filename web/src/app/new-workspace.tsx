import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { createWorkspace, meQuery } from '@/api/queries';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { Dialog } from '@/ui/dialog';
import { Input } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';

export default function NewWorkspace({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({
    initial: { name: '' },
    check: (values) => ({ name: required(values.name) }),
    submit: async ({ name }) => {
      const workspace = await createWorkspace(name.trim());
      await client.fetchQuery({ ...meQuery, staleTime: 0 });
      onClose();
      await navigate({ to: '/', search: { ws: workspace.id } });
    },
  });
  return (
    <Dialog
      isOpen
      onClose={onClose}
      size="sm"
      title={t('workspace.new')}
      description={t('workspace.new_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="new-workspace" variant="primary" isBusy={form.isBusy}>
            {t('action.create')}
          </Button>
        </>
      }
    >
      <Form form={form} id="new-workspace">
        <FormField form={form} name="name" label={t('field.name')} isRequired>
          {(control) => (
            <Input
              {...control}
              autoComplete="off"
              onChange={(event) => form.set('name', event.target.value)}
            />
          )}
        </FormField>
      </Form>
    </Dialog>
  );
}
