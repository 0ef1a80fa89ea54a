import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { ApiError } from '@/api/client';
import { renderAlone } from '@/test/render';
import { Button } from './button';
import { Input } from './field';
import { Form, FormField, required, useForm } from './form';

function Example({ submit }: { submit: (values: { name: string; email: string }) => Promise<unknown> }) {
  const form = useForm({
    initial: { name: '', email: '' },
    check: (values) => ({ name: required(values.name) }),
    submit,
  });
  return (
    <Form form={form} label="Example">
      <FormField form={form} name="name" label="Name" isRequired>
        {(control) => <Input {...control} onChange={(e) => form.set('name', e.target.value)} />}
      </FormField>
      <FormField form={form} name="email" label="E-mail" hint="Where to write to">
        {(control) => <Input {...control} onChange={(e) => form.set('email', e.target.value)} />}
      </FormField>
      <Button type="submit" isBusy={form.isBusy}>
        Send
      </Button>
    </Form>
  );
}

const refusal = (errors: { field: string; message: string }[], detail = 'One field is wrong.') =>
  new ApiError(400, { detail, code: 'invalid', errors }, null);

describe('a form', () => {
  it('asks for what is missing before it asks the server, and takes the focus there', async () => {
    const submit = vi.fn();
    renderAlone(<Example submit={submit} />);
    await userEvent.click(screen.getByRole('button', { name: 'Send' }));
    const name = screen.getByRole('textbox', { name: 'Name' });
    expect(name.getAttribute('aria-invalid')).toBe('true');
    expect(document.getElementById(name.getAttribute('aria-describedby') ?? '')?.textContent).toBe(
      'This is needed.',
    );
    await waitFor(() => expect(document.activeElement).toBe(name));
    expect(submit).not.toHaveBeenCalled();
  });

  it("shows the server's errors at their fields, with the hint still tied to it", async () => {
    renderAlone(
      <Example submit={() => Promise.reject(refusal([{ field: 'email', message: 'No such domain.' }]))} />,
    );
    await userEvent.type(screen.getByRole('textbox', { name: 'Name' }), 'Ada');
    await userEvent.click(screen.getByRole('button', { name: 'Send' }));
    const email = screen.getByRole('textbox', { name: /E-mail/ });
    await waitFor(() => expect(email.getAttribute('aria-invalid')).toBe('true'));
    const ids = (email.getAttribute('aria-describedby') ?? '').split(' ');
    expect(ids.map((id) => document.getElementById(id)?.textContent)).toEqual([
      'No such domain.',
      'Where to write to',
    ]);
    expect(screen.queryByRole('alert')).toBeNull();
    await userEvent.type(email, 'a');
    expect(email.getAttribute('aria-invalid')).toBeNull();
  });

  it('tells above the fields what belongs to none of them', async () => {
    renderAlone(
      <Example submit={() => Promise.reject(refusal([{ field: 'elsewhere', message: 'is wrong' }]))} />,
    );
    await userEvent.type(screen.getByRole('textbox', { name: 'Name' }), 'Ada{Enter}');
    expect((await screen.findByRole('alert')).textContent).toBe('elsewhere: is wrong');
  });

  it('is sent once however often one presses', async () => {
    let end: () => void = () => undefined;
    const submit = vi.fn(() => new Promise<void>((resolve) => (end = resolve)));
    renderAlone(<Example submit={submit} />);
    await userEvent.type(screen.getByRole('textbox', { name: 'Name' }), 'Ada');
    const button = screen.getByRole('button', { name: 'Send' });
    await userEvent.click(button);
    await userEvent.click(button);
    expect(button.getAttribute('aria-busy')).toBe('true');
    expect(submit).toHaveBeenCalledTimes(1);
    end();
    await waitFor(() => expect(button.getAttribute('aria-busy')).toBeNull());
  });
});
