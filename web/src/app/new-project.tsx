import { useQueryClient } from '@tanstack/react-query';
import { createProject } from '@/api/queries';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { Dialog } from '@/ui/dialog';
import { Input } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { toast } from '@/ui/toast';

export default function NewProject({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const form = useForm({
    initial: { name: '', repository: '', description: '' },
    check: (values) => ({ name: required(values.name) }),
    submit: async (values) => {
      const project = await createProject({
        name: values.name.trim(),
        repository: values.repository.trim() || undefined,
        description: values.description.trim() || undefined,
      });
      await client.invalidateQueries({ queryKey: ['project'] });
      toast({ tone: 'good', title: t('project.made', { name: project.name }) });
      onClose();
    },
  });
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={t('project.new')}
      description={t('project.new_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="new-project" variant="primary" isBusy={form.isBusy}>
            {t('action.create')}
          </Button>
        </>
      }
    >
      <Form form={form} id="new-project">
        <FormField form={form} name="name" label={t('field.name')} isRequired>
          {(control) => (
            <Input
              {...control}
              autoComplete="off"
              onChange={(event) => form.set('name', event.target.value)}
            />
          )}
        </FormField>
        <FormField
          form={form}
          name="repository"
          label={t('project.repository')}
          hint={t('project.repository_hint')}
        >
          {(control) => (
            <Input
              {...control}
              autoComplete="off"
              spellCheck={false}
              onChange={(event) => form.set('repository', event.target.value)}
            />
          )}
        </FormField>
        <FormField form={form} name="description" label={t('field.description')}>
          {(control) => (
            <Input {...control} onChange={(event) => form.set('description', event.target.value)} />
          )}
        </FormField>
      </Form>
    </Dialog>
  );
}
