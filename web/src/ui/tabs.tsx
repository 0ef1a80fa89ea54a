import { Tabs as Radix } from 'radix-ui';
import type { ReactNode } from 'react';

/** Tabs whose choice belongs into the address. */
export function Tabs<T extends string>(props: {
  label: string;
  value: T;
  onChange: (value: T) => void;
  tabs: { value: T; label: ReactNode; count?: number | undefined; panel: ReactNode }[];
}) {
  return (
    <Radix.Root value={props.value} onValueChange={(value) => props.onChange(value as T)}>
      <Radix.List aria-label={props.label} className="mb-5 flex gap-5 overflow-x-auto border-b border-line">
        {props.tabs.map((tab) => (
          <Radix.Trigger
            key={tab.value}
            value={tab.value}
            className="-mb-px flex min-h-9 items-center gap-1.5 border-b-2 border-transparent pb-1 text-sm font-medium whitespace-nowrap text-ink-2 hover:text-ink focus-visible:outline-offset-[-2px] data-[state=active]:border-accent data-[state=active]:text-ink"
          >
            {tab.label}
            {tab.count !== undefined && (
              <span className="nums rounded-full bg-hover px-1.5 text-2xs font-medium text-ink-2">
                {tab.count}
              </span>
            )}
          </Radix.Trigger>
        ))}
      </Radix.List>
      {props.tabs.map((tab) => (
        <Radix.Content key={tab.value} value={tab.value} className="focus-visible:outline-offset-4">
          {tab.panel}
        </Radix.Content>
      ))}
    </Radix.Root>
  );
}
