import { type FormEvent, type ReactNode, useCallback, useRef, useState } from 'react';
import { ApiError } from '@/api/client';
import { t } from '@/lib/i18n';
import { type ControlProps, Field } from './field';
import { Note } from './states';

type Errors<T> = Partial<Record<keyof T & string, string>>;

/** The state of a form: values, what is wrong with them here or on the server, and its one submission at a time. */
export interface FormState<T extends object> {
  values: T;
  set: <K extends keyof T>(name: K, value: T[K]) => void;
  errors: Errors<T>;
  /** What is wrong with none of the fields that are shown. */
  problem: string | null;
  isBusy: boolean;
  isDirty: boolean;
  reset: (values?: T) => void;
  submit: (event?: FormEvent) => Promise<void>;
}

export function useForm<T extends object>(options: {
  initial: T;
  /** Refusals that need no server. */
  check?: (values: T) => Errors<T>;
  submit: (values: T) => Promise<unknown>;
  /** Server field name -> field of the form, where they differ. */
  names?: Record<string, keyof T & string>;
}): FormState<T> {
  const [values, setValues] = useState(options.initial);
  const [errors, setErrors] = useState<Errors<T>>({});
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  const [isDirty, setIsDirty] = useState(false);
  const busy = useRef(false);

  const set = useCallback(<K extends keyof T>(name: K, value: T[K]) => {
    setValues((old) => ({ ...old, [name]: value }));
    setErrors((old) => ({ ...old, [name]: undefined }));
    setIsDirty(true);
  }, []);

  async function submit(event?: FormEvent) {
    event?.preventDefault();
    event?.stopPropagation();
    if (busy.current) return;
    const form = event?.currentTarget as HTMLFormElement | undefined;
    const focusFirst = () =>
      requestAnimationFrame(() => form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
    const found = options.check?.(values) ?? {};
    setErrors(found);
    setProblem(null);
    if (Object.values(found).some(Boolean)) {
      focusFirst();
      return;
    }
    busy.current = true;
    setIsBusy(true);
    try {
      await options.submit(values);
      setIsDirty(false);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const known: Errors<T> = {};
      const rest: string[] = [];
      for (const [field, message] of Object.entries(error.fields)) {
        const own = options.names?.[field] ?? options.names?.[field.split(/[.[]/)[0] as string] ?? field;
        const name = (own in values ? own : own.split(/[.[]/)[0]) as keyof T & string;
        if (name in values) known[name] ??= message;
        else rest.push(`${field}: ${message}`);
      }
      setErrors(known);
      if (rest.length > 0 || Object.keys(known).length === 0) setProblem(rest.join(' ') || error.message);
      focusFirst();
    } finally {
      busy.current = false;
      setIsBusy(false);
    }
  }

  return {
    values,
    set,
    errors,
    problem,
    isBusy,
    isDirty,
    submit,
    reset: (next = options.initial) => {
      setValues(next);
      setErrors({});
      setProblem(null);
      setIsDirty(false);
    },
  };
}

export function Form<T extends object>(props: {
  form: FormState<T>;
  children: ReactNode;
  className?: string;
  id?: string;
  label?: string;
}) {
  return (
    <form
      id={props.id}
      noValidate
      aria-label={props.label}
      onSubmit={props.form.submit}
      className={props.className ?? 'flex flex-col gap-4'}
    >
      {props.form.problem && (
        <Note tone="bad" isAlert>
          {props.form.problem}
        </Note>
      )}
      {props.children}
    </form>
  );
}

/** A field of a form, by its name. */
export function FormField<T extends object, K extends keyof T & string>(props: {
  form: FormState<T>;
  name: K;
  label: ReactNode;
  hint?: ReactNode;
  isRequired?: boolean;
  className?: string;
  children: (control: ControlProps & { value: T[K]; name: K }) => ReactNode;
}) {
  return (
    <Field
      label={props.label}
      hint={props.hint}
      error={props.form.errors[props.name]}
      isRequired={props.isRequired}
      className={props.className}
    >
      {(control) => props.children({ ...control, value: props.form.values[props.name], name: props.name })}
    </Field>
  );
}

export const required = (value: string) => (value.trim() === '' ? t('field.required') : undefined);
