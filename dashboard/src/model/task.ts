/** A task and its events as the page holds them: read from proto3 JSON, times in ms since 1970, numbers as numbers. */

export const STATUSES = ["WAITING", "PROCESSING", "SUCCESS", "FAILED", "ERROR", "CANCELLED", "TIMEOUT"] as const;
export type Status = (typeof STATUSES)[number];

export const PRIORITIES = ["HIGH", "NORMAL", "LOW"] as const;
export type Priority = (typeof PRIORITIES)[number];

export type EventType =
  | "SUBMITTED"
  | "STARTED"
  | "PROGRESSED"
  | "RETRY_SCHEDULED"
  | "SUCCEEDED"
  | "FAILED"
  | "ERRORED"
  | "CANCELLED"
  | "TIMED_OUT";

export interface Progress {
  /** 0 to 100; absent where the handler has not said how much there is to do. */
  readonly percent?: number;
  readonly message: string;
  readonly completed: number;
  readonly total: number;
}

export interface TaskError {
  readonly code: string;
  readonly message: string;
}

export interface Attempt {
  readonly number: number;
  readonly worker: string;
  readonly started?: number;
  readonly ended?: number;
  readonly outcome?: Status;
  readonly error?: TaskError;
}

export interface Task {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly priority: Priority;
  readonly labels: readonly (readonly [string, string])[];
  readonly status: Status;
  readonly sequence: number;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly attempts: readonly Attempt[];
  readonly progress?: Progress | undefined;
  readonly error?: TaskError | undefined;
  readonly cancelReason: string;
  readonly retryOf: string;
  readonly created: number;
  readonly updated: number;
  readonly scheduled?: number;
  readonly started?: number | undefined;
  readonly ended?: number | undefined;
  readonly nextAttempt?: number | undefined;
  readonly expires?: number;
  /** Limits, in the words of the contract ("60s"); empty where there is none. */
  readonly timeout: string;
  readonly attemptTimeout: string;
  readonly retention: string;
  readonly payload: unknown;
  readonly result: unknown;
}

export interface TaskEvent {
  readonly taskId: string;
  readonly sequence: number;
  readonly type: EventType;
  readonly status: Status;
  readonly attempt: number;
  readonly time: number;
  readonly progress?: Progress;
  readonly error?: TaskError;
  readonly nextAttempt?: number;
  readonly worker: string;
  readonly cancelReason: string;
  readonly result: unknown;
}

export const isTerminal = (status: Status): boolean => status !== "WAITING" && status !== "PROCESSING";

/** Whether RetryTask takes it. */
export const isRetryable = (status: Status): boolean => isTerminal(status) && status !== "SUCCESS";

// ------------------------------------------------------------------------------------------- proto3 JSON

/** A JSON object of which nothing is known yet. proto3 JSON leaves out fields that have their default. */
export type Json = Record<string, unknown>;

const text = (value: unknown): string => (typeof value === "string" ? value : "");
/** int64 is a string in proto3 JSON, int32 and double are numbers. */
const count = (value: unknown): number => Number(value ?? 0) || 0;
const object = (value: unknown): Json | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
const list = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);

const moment = (value: unknown): number | undefined => {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
};

/** `{ key: value }`, or nothing where there is no value: what an optional field wants. */
function optional<K extends string, V>(key: K, value: V | undefined): { [k in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [k in K]: V });
}

const word = (value: unknown, prefix: string): string => text(value).replace(prefix, "");

function readStatus(value: unknown): Status | undefined {
  const found = word(value, "TASK_STATUS_") as Status;
  return STATUSES.includes(found) ? found : undefined;
}

function readProgress(value: unknown): Progress | undefined {
  const json = object(value);
  if (!json) return undefined;
  const completed = count(json.completed);
  const total = count(json.total);
  // A percent of 0 is left out on the wire; with neither percent nor total nobody knows how far it is.
  const share = total > 0 ? (100 * completed) / total : undefined;
  const percent = typeof json.percent === "number" ? json.percent : share;
  const bounded = percent === undefined ? undefined : Math.min(100, Math.max(0, percent));
  return { ...optional("percent", bounded), message: text(json.message), completed, total };
}

function readError(value: unknown): TaskError | undefined {
  const json = object(value);
  return json && { code: text(json.code), message: text(json.message) };
}

function readAttempt(json: Json): Attempt {
  return {
    number: count(json.number),
    worker: text(json.worker),
    ...optional("started", moment(json.startTime)),
    ...optional("ended", moment(json.endTime)),
    ...optional("outcome", readStatus(json.outcome)),
    ...optional("error", readError(json.error)),
  };
}

export function readTask(json: Json): Task {
  const priority = word(json.priority, "TASK_PRIORITY_") as Priority;
  const labels = Object.entries(object(json.labels) ?? {}).map(([key, value]) => [key, text(value)] as const);
  return {
    id: text(json.id),
    type: text(json.type),
    queue: text(json.queue) || "default",
    priority: PRIORITIES.includes(priority) ? priority : "NORMAL",
    labels: labels.sort(([one], [other]) => (one < other ? -1 : 1)),
    status: readStatus(json.status) ?? "WAITING",
    sequence: count(json.sequence),
    attempt: count(json.attempt),
    maxAttempts: count(object(json.retryPolicy)?.maxAttempts),
    attempts: list(json.attempts).map(readAttempt),
    ...optional("progress", readProgress(json.progress)),
    ...optional("error", readError(json.error)),
    cancelReason: text(json.cancelReason),
    retryOf: text(json.retryOf),
    created: moment(json.createTime) ?? 0,
    updated: moment(json.updateTime) ?? 0,
    ...optional("scheduled", moment(json.scheduleTime)),
    ...optional("started", moment(json.startTime)),
    ...optional("ended", moment(json.endTime)),
    ...optional("nextAttempt", moment(json.nextAttemptTime)),
    ...optional("expires", moment(json.expireTime)),
    timeout: text(json.timeout),
    attemptTimeout: text(json.attemptTimeout),
    retention: text(json.retention),
    payload: json.payload ?? null,
    result: json.result ?? null,
  };
}

export function readEvent(json: Json): TaskEvent {
  return {
    taskId: text(json.taskId),
    sequence: count(json.sequence),
    type: word(json.type, "TYPE_") as EventType,
    status: readStatus(json.status) ?? "WAITING",
    attempt: count(json.attempt),
    time: moment(json.time) ?? 0,
    ...optional("progress", readProgress(json.progress)),
    ...optional("error", readError(json.error)),
    ...optional("nextAttempt", moment(json.nextAttemptTime)),
    worker: text(json.worker),
    cancelReason: text(json.cancelReason),
    result: json.result ?? null,
  };
}
