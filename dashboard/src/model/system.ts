/** Queues and workers as ListQueues and ListWorkers tell of them. */

import type { Json } from "./task";

export interface Queue {
  readonly name: string;
  readonly high: number;
  readonly normal: number;
  readonly low: number;
  readonly running: number;
  readonly delayed: number;
  /** How long the first in line has waited, in ms; absent: none waits. */
  readonly oldestWaiting?: number;
  readonly consumers: number;
  /** Tasks that ended per second, over the last minute. */
  readonly rate: number;
}

export interface Worker {
  readonly name: string;
  readonly types: readonly string[];
  readonly queues: readonly string[];
  readonly slots: number;
  readonly running: number;
  readonly heartbeat: number;
  readonly started: number;
  readonly version: string;
}

const count = (value: unknown): number => Number(value ?? 0) || 0;
const words = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

export function readQueue(json: Json): Queue {
  const waiting = (json.waiting ?? {}) as Json;
  const oldest = Number.parseFloat(String(json.oldestWaitingAge ?? ""));
  return {
    name: String(json.name ?? ""),
    high: count(waiting.high),
    normal: count(waiting.normal),
    low: count(waiting.low),
    running: count(json.running),
    delayed: count(json.delayed),
    ...(Number.isNaN(oldest) ? {} : { oldestWaiting: oldest * 1_000 }),
    consumers: count(json.consumers),
    rate: count(json.rate),
  };
}

export function readWorker(json: Json): Worker {
  return {
    name: String(json.name ?? ""),
    types: words(json.types),
    queues: words(json.queues),
    slots: count(json.slots),
    running: count(json.running),
    heartbeat: Date.parse(String(json.lastHeartbeatTime ?? "")) || 0,
    started: Date.parse(String(json.startTime ?? "")) || 0,
    version: String(json.version ?? ""),
  };
}
