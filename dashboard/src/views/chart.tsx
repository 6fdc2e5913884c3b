/** A small chart of the last minutes: stacked bars, or lines over a logarithmic scale of time, with their values at the pointer. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { BIN_MS, BINS } from "../model/activity";
import { barScale, timeScale, type Scale } from "../model/scales";
import { span } from "../model/words";

export interface Series {
  readonly name: string;
  /** Names its colour in the stylesheet. */
  readonly tone: "good" | "bad" | "first" | "second";
  readonly values: readonly (number | undefined)[];
}

interface ChartProps {
  readonly title: string;
  readonly kind: "bars" | "lines";
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  /** The first bin that is known whole. */
  readonly knownFrom: number;
}

const HEIGHT = 132;
const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;
const PLOT = HEIGHT - TOP - BOTTOM;
const MINUTES = (BINS * BIN_MS) / 60_000;

export function Chart({ title, kind, series, format, knownFrom }: ChartProps) {
  const figure = useRef<HTMLElement>(null);
  const width = useSignal(600);
  const pointed = useSignal<number | undefined>(undefined);
  useEffect(() => {
    const watching = new ResizeObserver(([entry]) => (width.value = Math.max(240, entry!.contentRect.width)));
    watching.observe(figure.current!);
    return () => watching.disconnect();
  }, []);

  const right = width.value - 1;
  const step = (right - LEFT) / BINS;
  const x = (bin: number): number => LEFT + bin * step;
  const scale: Scale = kind === "bars" ? barScale(sums(series)) : timeScale(series.flatMap(({ values }) => values));
  const y = (value: number): number => TOP + PLOT * (1 - scale.height(value));
  const bin = pointed.value ?? BINS - 1;

  function point(event: PointerEvent) {
    const at = Math.floor((event.clientX - figure.current!.getBoundingClientRect().left - LEFT) / step);
    pointed.value = at >= 0 && at < BINS ? at : undefined;
  }

  return (
    <section class="panel chart">
      <header>
        <h2>{title}</h2>
        <dl class="legend">
          {series.map(({ name, tone, values }) => (
            <div key={name}>
              <dt data-tone={tone} data-kind={kind}>
                {name}
              </dt>
              <dd class="number">{values[bin] === undefined ? "–" : format(values[bin])}</dd>
            </div>
          ))}
        </dl>
        {pointed.value !== undefined && <span class="muted number">{span((BINS - 1 - bin) * BIN_MS)} ago</span>}
      </header>
      <figure ref={figure} onPointerMove={point} onPointerLeave={() => (pointed.value = undefined)}>
        <svg width={width.value} height={HEIGHT} role="img" aria-label={summary(title, series, format)}>
          {scale.ticks.map((tick) => (
            <g key={tick} class="grid">
              <path d={`M${LEFT} ${y(tick)}H${right}`} />
              <text x={LEFT - 8} y={y(tick) + 4} text-anchor="end">
                {format(tick)}
              </text>
            </g>
          ))}
          {[MINUTES, MINUTES / 2, 0].map((minutes) => (
            <text
              key={minutes}
              class="axis"
              x={x(BINS * (1 - minutes / MINUTES))}
              y={HEIGHT - 4}
              text-anchor={minutes === 0 ? "end" : minutes === MINUTES ? "start" : "middle"}
            >
              {minutes ? `${minutes} min ago` : "now"}
            </text>
          ))}
          {knownFrom > 0 && (
            <rect class="unknown" x={LEFT} y={TOP} width={Math.min(knownFrom, BINS) * step} height={PLOT} />
          )}
          {kind === "bars"
            ? stacked(series).map(({ tone, ranges }) => (
                <path key={tone} class="bars" data-tone={tone} d={bars(ranges, x, y, step)} />
              ))
            : series.map(({ tone, values }) => (
                <path key={tone} class="line" data-tone={tone} d={line(values, x, y, step)} />
              ))}
          {pointed.value !== undefined && <path class="pointer" d={`M${x(bin) + step / 2} ${TOP}v${PLOT}`} />}
        </svg>
      </figure>
    </section>
  );
}

const sums = (series: readonly Series[]): number[] =>
  Array.from({ length: BINS }, (_, bin) => series.reduce((sum, { values }) => sum + (values[bin] ?? 0), 0));

/** For each series its bars as ranges from the one below it. */
function stacked(series: readonly Series[]): { tone: string; ranges: (readonly [number, number])[] }[] {
  const base = new Array<number>(BINS).fill(0);
  return series.map(({ tone, values }) => ({
    tone,
    ranges: values.map((value, bin) => {
      const from = base[bin] ?? 0;
      base[bin] = from + (value ?? 0);
      return [from, base[bin]] as const;
    }),
  }));
}

type Place = (value: number) => number;

function bars(ranges: readonly (readonly [number, number])[], x: Place, y: Place, step: number): string {
  const width = Math.max(1, step - 1);
  return ranges
    .map(([from, to], bin) =>
      to > from
        ? `M${x(bin).toFixed(1)} ${y(from).toFixed(1)}V${y(to).toFixed(1)}h${width.toFixed(1)}V${y(from).toFixed(1)}z`
        : "",
    )
    .join("");
}

/** A line through the bins that have a value; one that stands alone is a dot. */
function line(values: readonly (number | undefined)[], x: Place, y: Place, step: number): string {
  let drawing = false;
  return values
    .map((value, bin) => {
      const point = value === undefined ? "" : `${(x(bin) + step / 2).toFixed(1)} ${y(value).toFixed(1)}`;
      const command = drawing ? `L${point}` : `M${point}h0`;
      drawing = value !== undefined;
      return drawing ? command : "";
    })
    .join("");
}

function summary(title: string, series: readonly Series[], format: (value: number) => string): string {
  const parts = series.map(({ name, values }) => {
    const known = values.filter((value) => value !== undefined);
    return known.length ? `${name} ${format(known.at(-1)!)}, at most ${format(Math.max(...known))}` : `${name} none`;
  });
  return `${title} over the last ${MINUTES} minutes: ${parts.join("; ")}.`;
}
