/** Server-sent events that come back by themselves: after a lost connection, a restarted gateway, a laptop's sleep. */

import { signal } from "@preact/signals";
import { readEvent, type Json, type TaskEvent } from "../model/task";
import { onWake } from "../state/clock";
import { whyRefused, type Fault } from "./http";

export type Link = "idle" | "connecting" | "live" | "lost";

/** How the page's stream is doing; a page has one at a time, or none that is needed: idle. */
export const link = signal<Link>("idle");

export interface StreamHandlers {
  /** Where to connect; asked anew for every connection. */
  url(): string;
  /** The connection stands: from now on every event is handed over. `again`: it had been lost, and some were missed. */
  opened?(again: boolean): void;
  event(event: TaskEvent): void;
  /** The server refused for good. Return true to connect again at once, by another URL. */
  refused?(fault: Fault): boolean;
}

const SHORTEST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;
/** A tab that was hidden for so long gives its connection back: browsers allow a server six of them in all. */
const HIDDEN_MS = 30_000;

export class Stream {
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private opened = false;
  private closed = false;
  private readonly stopListening: () => void;

  constructor(private readonly handlers: StreamHandlers) {
    const stopWaking = onWake(() => this.connect());
    document.addEventListener("visibilitychange", this.visibilityChanged);
    this.stopListening = () => {
      stopWaking();
      document.removeEventListener("visibilitychange", this.visibilityChanged);
    };
    link.value = "connecting";
    this.connect();
  }

  close(): void {
    this.closed = true;
    this.stopListening();
    this.drop();
    clearTimeout(this.hiddenTimer);
    link.value = "idle";
  }

  private readonly visibilityChanged = (): void => {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) this.hiddenTimer = setTimeout(() => this.drop(), HIDDEN_MS);
    else if (!this.source && !this.closed) this.connect();
  };

  private drop(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
  }

  private connect(): void {
    this.drop();
    const source = new EventSource(this.handlers.url());
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      link.value = "live";
      this.handlers.opened?.(this.opened);
      this.opened = true;
    };
    source.addEventListener("event", (message) => {
      this.handlers.event(readEvent(JSON.parse((message as MessageEvent<string>).data) as Json));
    });
    source.onerror = () => void this.lost(source);
  }

  private async lost(source: EventSource): Promise<void> {
    // CLOSED: there was an answer, and it was no stream. Otherwise the browser would try again, at its own pace.
    const refused = source.readyState === EventSource.CLOSED;
    this.drop();
    link.value = "lost";
    const fault = refused ? await whyRefused(source.url) : undefined;
    if (this.closed || this.source) return;
    if (fault && fault.status >= 400 && fault.status < 500 && fault.status !== 429) {
      if (this.handlers.refused?.(fault)) this.connect();
      else this.close();
      return;
    }
    const wait = Math.min(LONGEST_WAIT_MS, SHORTEST_WAIT_MS * 2 ** this.failures++);
    // Many pages that lost the same gateway should not come back in step.
    this.timer = setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
  }
}
