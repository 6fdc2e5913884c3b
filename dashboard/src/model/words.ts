/** How times, amounts and states are put into words. */

import type { EventType, Priority, Status } from "./task";

export const STATUS_WORDS: Record<Status, string> = {
  WAITING: "Waiting",
  PROCESSING: "Processing",
  SUCCESS: "Success",
  FAILED: "Failed",
  ERROR: "Error",
  CANCELLED: "Cancelled",
  TIMEOUT: "Timeout",
};

/** What each status means, for those who do not know the contract by heart. */
export const STATUS_MEANINGS: Record<Status, string> = {
  WAITING: "Recorded, and waiting for its time, for a free worker or for its next attempt",
  PROCESSING: "A worker is running it",
  SUCCESS: "The handler returned",
  FAILED: "The handler said that it cannot succeed; never retried",
  ERROR: "Something unexpected went wrong and the attempts are used up",
  CANCELLED: "A client cancelled it",
  TIMEOUT: "Its time limit passed",
};

export const EVENT_WORDS: Record<EventType, string> = {
  SUBMITTED: "Submitted",
  STARTED: "Started",
  PROGRESSED: "Progress",
  RETRY_SCHEDULED: "Retry scheduled",
  SUCCEEDED: "Succeeded",
  FAILED: "Failed",
  ERRORED: "Ended in error",
  CANCELLED: "Cancelled",
  TIMED_OUT: "Timed out",
};

export const PRIORITY_WORDS: Record<Priority, string> = { HIGH: "High", NORMAL: "Normal", LOW: "Low" };

/** A span as a short word with one unit, or two where one would be coarse: `840 ms`, `4.2 s`, `3 m 20 s`, `5 h 2 m`, `3 d 4 h`. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  return longSpan(ms + 50);
}

/** The same in whole seconds at least, for what ticks. */
export function age(ms: number): string {
  return longSpan(Math.max(0, ms));
}

function longSpan(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return two(minutes, "m", seconds % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return two(hours, "h", minutes % 60, "m");
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

const two = (major: number, unit: string, minor: number, lesser: string): string =>
  minor ? `${major} ${unit} ${minor} ${lesser}` : `${major} ${unit}`;

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});
const DAY_AND_CLOCK = new Intl.DateTimeFormat("en-GB", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** The time of day to the millisecond, in the reader's time zone. */
export const timeOfDay = (ms: number): string => CLOCK.format(ms);

/** Day and time, in the reader's time zone. */
export const dayAndTime = (ms: number): string => DAY_AND_CLOCK.format(ms);

const NUMBER = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });

export const amount = (value: number): string => NUMBER.format(value);

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${amount(value)} ${value === 1 ? one : many}`;

/** The part of a task's id that tells neighbours apart: ids made in the same minute begin alike. */
export const shortId = (id: string): string => id.slice(-12);

/** `60s` and `0.500s`, as the contract writes durations, for people. */
export const contractSpan = (duration: string): string => {
  const seconds = Number.parseFloat(duration);
  return Number.isNaN(seconds) ? duration : span(seconds * 1_000);
};
