/** The time by the server's clock, and a tick for all that shows an age. */

import { signal } from "@preact/signals";

let offset = 0;

/** Learn from the `Date` of an answer how far this machine's clock is off. It has whole seconds, so little is ignored. */
export function noteServerTime(date: string | null): void {
  const server = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(server)) return;
  const difference = server + 500 - Date.now();
  offset = Math.abs(difference) > 2_000 ? difference : 0;
}

/** Now, in ms since 1970, by the server's clock. */
export const serverNow = (): number => Date.now() + offset;

/** Now, once a second. */
export const now = signal(serverNow());

const TICK_MS = 1_000;
/** A gap of so many ms between two ticks: the machine slept. */
const SLEPT_MS = 15_000;

const wakeListeners = new Set<() => void>();

/** Call `listener` whenever the machine has slept or the network is back; returns how to stop that. */
export function onWake(listener: () => void): () => void {
  wakeListeners.add(listener);
  return () => wakeListeners.delete(listener);
}

const wake = (): void => wakeListeners.forEach((listener) => listener());

export function startClock(): void {
  let last = Date.now();
  setInterval(() => {
    // A hidden tab ticks once a minute at worst, and that is no sleep.
    if (Date.now() - last > SLEPT_MS && !document.hidden) wake();
    last = Date.now();
    now.value = serverNow();
  }, TICK_MS);
  window.addEventListener("online", wake);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) now.value = serverNow();
  });
}
