/** Times that tick: only the text of one moves, whatever holds it. */

import { now } from "../state/clock";
import { age, dayAndTime, span } from "../model/words";

/** How long ago. */
export const Age = ({ since }: { since: number }) => (
  <time dateTime={new Date(since).toISOString()} title={dayAndTime(since)}>
    {age(now.value - since)}
  </time>
);

/** How long it took, or has taken so far. */
export const Took = ({ from, to }: { from: number; to?: number | undefined }) => (
  <>{to === undefined ? age(now.value - from) : span(to - from)}</>
);

/** How long until then. */
export const Until = ({ time, past = "now" }: { time: number; past?: string }) => (
  <>{time > now.value ? `in ${age(time - now.value + 999)}` : past}</>
);
