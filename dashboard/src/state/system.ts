/** Queues and workers, asked for again and again, and what has ended in the last minutes, by events. */

import { signal } from "@preact/signals";
import { listQueues, listTasks, listWorkers, sentence } from "../api/http";
import { Stream } from "../api/stream";
import { Activity, BIN_MS, BINS, type Slice } from "../model/activity";
import { readQueue, readWorker, type Queue, type Worker } from "../model/system";
import { serverNow } from "./clock";

const POLL_MS = 2_000;
const REDRAW_MS = 1_000;
const PAGE = 1_000;
/** The past of the charts is read from the list, up to so many tasks. */
const MOST_READ = 5_000;

export class SystemWatch {
  readonly queues = signal<readonly Queue[] | undefined>(undefined);
  readonly workers = signal<readonly Worker[] | undefined>(undefined);
  readonly failure = signal("");
  readonly slices = signal<readonly Slice[]>([]);
  /** The first bin of the charts of which everything is known. */
  readonly knownFrom = signal(0);

  private activity = new Activity();
  private knownSince = Number.POSITIVE_INFINITY;
  private asking = false;
  private readonly closing = new AbortController();
  private readonly stream = new Stream({
    url: () => "stream",
    opened: () => void this.readPast(),
    event: (event) => this.activity.take(event),
  });
  private readonly timers = [setInterval(() => void this.ask(), POLL_MS), setInterval(() => this.draw(), REDRAW_MS)];

  constructor() {
    this.draw();
    void this.ask();
  }

  close(): void {
    this.stream.close();
    this.closing.abort();
    this.timers.forEach(clearInterval);
  }

  private async ask(): Promise<void> {
    if (this.asking || document.hidden) return;
    this.asking = true;
    try {
      const { signal: leaving } = this.closing;
      const [queues, workers] = await Promise.all([listQueues(leaving), listWorkers(leaving)]);
      this.queues.value = queues.map(readQueue);
      this.workers.value = workers.map(readWorker);
      this.failure.value = "";
    } catch (error) {
      if (!this.closing.signal.aborted) this.failure.value = sentence(error);
    } finally {
      this.asking = false;
    }
  }

  /** Read what ended before the stream stood. A task submitted before the charts begin is not counted. */
  private async readPast(): Promise<void> {
    const begin = serverNow() - (BINS + 1) * BIN_MS;
    const query = new URLSearchParams({ createTimeAfter: new Date(begin).toISOString() });
    try {
      let token = "";
      let read = 0;
      let oldest = begin;
      do {
        const page = await listTasks(query, PAGE, token, this.closing.signal);
        page.tasks.forEach((task) => this.activity.read(task));
        read += page.tasks.length;
        token = page.next;
        oldest = token ? (page.tasks.at(-1)?.created ?? oldest) : begin;
      } while (token && read < MOST_READ);
      this.knownSince = oldest;
      this.draw();
    } catch {
      // The next connection of the stream reads it again.
    }
  }

  private draw(): void {
    const time = serverNow();
    this.slices.value = this.activity.slices(time);
    const first = Math.floor(time / BIN_MS) - BINS;
    this.knownFrom.value = Math.min(BINS, Math.max(0, Math.ceil(this.knownSince / BIN_MS) - first));
  }
}
