/** One task with its whole history, live. */

import { signal } from "@preact/signals";
import { cancelTask, Fault, getTask, sentence } from "../api/http";
import { Stream } from "../api/stream";
import { fold } from "../model/fold";
import { isTerminal, type Task, type TaskEvent } from "../model/task";
import { oncePerFrame } from "./frame";

export class TaskStory {
  readonly task = signal<Task | undefined>(undefined);
  readonly events = signal<readonly TaskEvent[]>([]);
  /** Why there is nothing to show. */
  readonly failure = signal("");
  /** The first event that the server still has, where it has let go of older ones. */
  readonly firstKept = signal(1);

  private current: Task | undefined;
  private readonly history: TaskEvent[] = [];
  private lastSequence = 0;
  private readonly stream: Stream;
  private readonly closing = new AbortController();
  private readonly show = oncePerFrame(() => {
    this.task.value = this.current;
    this.events.value = [...this.history];
  });

  constructor(readonly id: string) {
    this.stream = new Stream({
      url: () => `tasks/${encodeURIComponent(id)}/stream?afterSequence=${this.lastSequence}`,
      opened: () => void this.read(),
      event: (event) => this.take(event),
      refused: (fault) => this.refused(fault),
    });
    void this.read();
  }

  close(): void {
    this.stream.close();
    this.closing.abort();
  }

  async cancel(reason: string): Promise<void> {
    this.learn(await cancelTask(this.id, reason));
  }

  private take(event: TaskEvent): void {
    if (event.sequence <= this.lastSequence) return;
    this.lastSequence = event.sequence;
    this.history.push(event);
    if (this.current) this.current = fold(this.current, event);
    this.show();
    if (isTerminal(event.status)) {
      // The server ends the stream here; the browser would take that for a loss.
      this.stream.close();
      void this.read();
    }
  }

  private async read(): Promise<void> {
    try {
      this.learn(await getTask(this.id, this.closing.signal));
      this.failure.value = "";
    } catch (error) {
      const known = this.current !== undefined && !(error instanceof Fault && error.status === 404);
      if (!this.closing.signal.aborted && !known) this.failure.value = sentence(error);
    }
  }

  /** Take over what the record says, and events that are newer than that. An answer without payload keeps the one known. */
  private learn(read: Task): void {
    const payload = read.payload ?? this.current?.payload ?? null;
    this.current = this.history.reduce(fold, { ...read, payload });
    this.show();
  }

  private refused(fault: Fault): boolean {
    const first = Number(fault.metadata.first_sequence);
    if (fault.reason === "SEQUENCE_COMPACTED" && first > this.lastSequence + 1) {
      this.firstKept.value = first;
      this.lastSequence = first - 1;
      return true;
    }
    if (!this.current) this.failure.value = fault.message;
    return false;
  }
}
