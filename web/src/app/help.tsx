import { type MessageId, t } from '@/lib/i18n';
import { setPref, usePrefs } from '@/lib/prefs';
import { Dialog } from '@/ui/dialog';
import { Checkbox } from '@/ui/field';
import { GO, isHelpOpen } from './shortcuts';

const OTHERS: [string[], MessageId][] = [
  [['Ctrl', 'K'], 'help.palette'],
  [['/'], 'help.search'],
  [['?'], 'help.this'],
  [['j'], 'help.next'],
  [['k'], 'help.previous'],
  [['↵'], 'help.open_row'],
  [['c'], 'help.create'],
  [['Esc'], 'help.close'],
];

function Keys({ keys }: { keys: string[] }) {
  return (
    <span className="flex gap-1">
      {keys.map((key) => (
        <kbd key={key} className="kbd">
          {key}
        </kbd>
      ))}
    </span>
  );
}

export default function Help() {
  const { shortcuts } = usePrefs();
  return (
    <Dialog isOpen onClose={() => isHelpOpen.set(false)} title={t('help.title')} size="lg">
      <div className="grid gap-x-10 gap-y-6 sm:grid-cols-2">
        <section>
          <h3 className="eyebrow mb-2">{t('help.go')}</h3>
          <ul>
            {GO.map((place) => (
              <li
                key={place.key}
                className="flex items-center justify-between gap-4 border-b border-line py-1.5 text-sm"
              >
                {t(place.label as MessageId)}
                <Keys keys={['g', place.key]} />
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h3 className="eyebrow mb-2">{t('help.everywhere')}</h3>
          <ul>
            {OTHERS.map(([keys, label]) => (
              <li
                key={label}
                className="flex items-center justify-between gap-4 border-b border-line py-1.5 text-sm"
              >
                {t(label)}
                <Keys keys={keys} />
              </li>
            ))}
          </ul>
        </section>
      </div>
      <div className="mt-6">
        <Checkbox
          label={t('help.single_keys')}
          hint={t('help.single_keys_hint')}
          checked={shortcuts === 'on'}
          onChange={(event) => setPref('shortcuts', event.target.checked ? 'on' : 'off')}
        />
      </div>
    </Dialog>
  );
}
