/** What has ended lately, in bins of time: how many, and how long each took from the moment it could have run. */

import { isTerminal, type Task, type TaskEvent } from "./task";

export const BIN_MS = 5_000;
export const BINS = 120;
/** Tasks whose beginning is remembered until their end comes; the oldest are forgotten first. */
const MOST_BEGINNINGS = 50_000;

interface Bin {
  succeeded: number;
  other: number;
  readonly took: number[];
}

/** One bin as it is drawn: per second, and ms. */
export interface Slice {
  readonly succeeded: number;
  readonly other: number;
  readonly median?: number;
  readonly slow?: number;
}

export class Activity {
  private readonly bins = new Map<number, Bin>();
  private readonly beginnings = new Map<string, number>();
  /** Tasks that were counted already; events and readings may tell of the same end. */
  private counted = new Set<string>();
  private countedBefore = new Set<string>();

  /** Learn from a task as the record has it. */
  read(task: Task): void {
    const begun = Math.max(task.created, task.scheduled ?? 0);
    if (task.ended === undefined) this.begin(task.id, begun);
    else this.end(task.id, task.ended, task.status === "SUCCESS", begun);
  }

  /** Learn from an event. */
  take(event: TaskEvent): void {
    if (event.type === "SUBMITTED") this.begin(event.taskId, event.time);
    else if (isTerminal(event.status)) {
      this.end(event.taskId, event.time, event.status === "SUCCESS", this.beginnings.get(event.taskId));
      this.beginnings.delete(event.taskId);
    }
  }

  /** The bins up to `now`, oldest first; the last one is the latest that is over. */
  slices(now: number): Slice[] {
    const latest = Math.floor(now / BIN_MS) - 1;
    for (const key of this.bins.keys()) if (key <= latest - BINS) this.bins.delete(key);
    return Array.from({ length: BINS }, (_, index) => slice(this.bins.get(latest - BINS + 1 + index)));
  }

  private begin(id: string, time: number): void {
    this.beginnings.set(id, time);
    if (this.beginnings.size > MOST_BEGINNINGS) this.beginnings.delete(this.beginnings.keys().next().value!);
  }

  private end(id: string, time: number, succeeded: boolean, begun: number | undefined): void {
    if (this.counted.has(id) || this.countedBefore.has(id)) return;
    this.counted.add(id);
    if (this.counted.size > MOST_BEGINNINGS) {
      this.countedBefore = this.counted;
      this.counted = new Set();
    }
    const key = Math.floor(time / BIN_MS);
    const bin = this.bins.get(key) ?? { succeeded: 0, other: 0, took: [] };
    this.bins.set(key, bin);
    if (succeeded) bin.succeeded++;
    else bin.other++;
    if (begun !== undefined) bin.took.push(Math.max(0, time - begun));
  }
}

function slice(bin: Bin | undefined): Slice {
  if (!bin) return { succeeded: 0, other: 0 };
  const seconds = BIN_MS / 1_000;
  const rates = { succeeded: bin.succeeded / seconds, other: bin.other / seconds };
  if (!bin.took.length) return rates;
  const sorted = bin.took.toSorted((one, other) => one - other);
  const share = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
  return { ...rates, median: share(0.5), slow: share(0.95) };
}
