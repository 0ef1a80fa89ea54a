import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { usePrefs } from '@/lib/prefs';
import type { ChartProps } from './chart';

const DAY_S = 86_400;

/** The drawing of a chart: loaded only where one is shown. */
export default function Plot(props: ChartProps & { height: number }) {
  const place = useRef<HTMLDivElement>(null);
  const [tip, setTip] = useState<{ left: number; at: number } | null>(null);
  const { theme } = usePrefs();
  const { x, series, height } = props;
  const latest = useRef(props);
  latest.current = props;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours of the theme are read when it changes
  useEffect(() => {
    const root = place.current;
    if (!root || x.length === 0) return;
    const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const font = '11px Plex, system-ui, sans-serif';
    // Stacked: each series is drawn as the sum of itself and those below it, the highest first.
    const sums: number[][] = [];
    series.forEach((s, i) => {
      sums.push(s.values.map((v, k) => v + (i > 0 ? ((sums[i - 1] as number[])[k] ?? 0) : 0)));
    });
    const order = series.map((_, i) => i).reverse();
    const bars = uPlot.paths.bars?.({ size: [0.62, 44, 2], radius: 0.12 });
    const step = x.length > 1 ? ((x[1] as number) - (x[0] as number)) / 1000 : DAY_S;
    const plot = new uPlot(
      {
        width: root.clientWidth,
        height,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: {
          points: { show: false },
          drag: { x: false, y: false },
          x: false,
          y: false,
        },
        scales: {
          x: { time: false, range: (_u, min, max) => [min - step / 2, max + step / 2] },
          y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.08 : 1] },
        },
        axes: [
          {
            stroke: colour('--ink-3'),
            font,
            gap: 6,
            size: 26,
            grid: { show: false },
            ticks: { show: false },
            space: 72,
            splits: (u) => {
              const most = Math.max(2, Math.floor(u.width / 84));
              const every = Math.max(1, Math.ceil(x.length / most));
              return x.filter((_, i) => (x.length - 1 - i) % every === 0).map((v) => v / 1000);
            },
            values: (_u, splits) => splits.map((v) => latest.current.formatX(v * 1000)),
          },
          {
            stroke: colour('--ink-3'),
            font,
            gap: 8,
            size: 58,
            grid: { stroke: colour('--line'), width: 1 },
            ticks: { show: false },
            values: (_u, splits) => splits.map((v) => latest.current.format(v)),
          },
        ],
        series: [
          {},
          ...order.map((i) => ({
            fill: colour(`--series-${(series[i] as (typeof series)[number]).colour}`),
            stroke: 'transparent',
            width: 0,
            paths: bars,
            points: { show: false },
          })),
        ] as uPlot.Series[],
        hooks: {
          setCursor: [
            (u) => {
              const at = u.cursor.idx;
              setTip(
                at === null || at === undefined || (u.cursor.left ?? -1) < 0
                  ? null
                  : { at, left: u.valToPos((x[at] as number) / 1000, 'x') + u.bbox.left / devicePixelRatio },
              );
            },
          ],
        },
      },
      [x.map((v) => v / 1000), ...order.map((i) => sums[i] as number[])],
      root,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: root.clientWidth, height }));
    observer.observe(root);
    return () => {
      observer.disconnect();
      plot.destroy();
      setTip(null);
    };
  }, [x, series, height, theme]);

  return (
    <div className="relative" ref={place} style={{ height }}>
      {tip && (
        <div
          className="pointer-events-none absolute top-2 z-10 rounded-md border border-line bg-raised px-2.5 py-1.5 text-xs shadow-2"
          style={
            tip.left > (place.current?.clientWidth ?? 0) / 2
              ? { right: (place.current?.clientWidth ?? 0) - tip.left + 10 }
              : { left: tip.left + 10 }
          }
        >
          <div className="mb-0.5 text-ink-3">{props.formatX(x[tip.at] as number)}</div>
          {series.map((s) => (
            <div key={s.label} className="nums flex justify-between gap-4 text-ink">
              <span>{s.label}</span>
              <span className="font-medium">{props.format(s.values[tip.at] ?? 0)}</span>
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
