/** The scales of the charts. */

export interface Scale {
  /** The values that have a line, from below. */
  readonly ticks: readonly number[];
  /** How high a value stands: 0 at the bottom of the chart, 1 at its top. */
  height(value: number): number;
}

/** From 0 to a round number, 1 at least, that no value exceeds. */
export function barScale(values: readonly number[]): Scale {
  const highest = Math.max(1, ...values);
  const power = 10 ** Math.floor(Math.log10(highest));
  const top = [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= highest)!;
  return { ticks: [0, top / 2, top], height: (value) => value / top };
}

const MINUTE = 60_000;
const ROUND_TIMES = [1, 10, 100, 1_000, 10_000, MINUTE, 10 * MINUTE, 60 * MINUTE, 600 * MINUTE, 6_000 * MINUTE];

/** Logarithmic, over the round times that hold all values: what takes long must not flatten what does not. */
export function timeScale(values: readonly (number | undefined)[]): Scale {
  const known = values.filter((value) => value !== undefined).map((value) => Math.max(1, value));
  const [lowest, highest] = known.length ? [Math.min(...known), Math.max(...known)] : [10, 1_000];
  const from = Math.max(
    0,
    ROUND_TIMES.findLastIndex((time) => time <= lowest),
  );
  const above = ROUND_TIMES.findIndex((time) => time >= highest);
  const to = Math.max(from + 1, above < 0 ? ROUND_TIMES.length - 1 : above);
  const ticks = ROUND_TIMES.slice(from, to + 1);
  const [bottom, top] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  return { ticks, height: (value) => (Math.log(Math.max(1, value)) - bottom) / (top - bottom) };
}
