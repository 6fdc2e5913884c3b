/**
 * Calls to the gateway that served this page. Every failure is a Fault with a sentence for people.
 * Paths are relative to the page: a proxy may serve both below a path of its own.
 */

import { readTask, type Json, type Task } from "../model/task";
import { noteServerTime } from "../state/clock";

export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** A call that was refused, or got no answer. */
export class Fault extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0: no answer at all. */
    readonly status: number,
    /** The contract's short word, such as TASK_NOT_FOUND; empty where there is none. */
    readonly reason = "",
    readonly violations: readonly FieldViolation[] = [],
    readonly metadata: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

const PATIENCE_MS = 10_000;

async function call(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Json> {
  const limits = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  let response: Response;
  let json: unknown;
  try {
    response = await fetch(path, {
      method,
      signal: AbortSignal.any(limits),
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    noteServerTime(response.headers.get("Date"));
    json = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Fault("The gateway does not answer.", 0);
  }
  if (!response.ok) throw readFault(response.status, json);
  return (json ?? {}) as Json;
}

/** Why the server does not stream at `url`; undefined if it does, or does not answer. */
export async function whyRefused(url: string): Promise<Fault | undefined> {
  const asking = new AbortController();
  try {
    const response = await fetch(url, { signal: AbortSignal.any([asking.signal, AbortSignal.timeout(PATIENCE_MS)]) });
    return response.ok ? undefined : readFault(response.status, await response.json());
  } catch {
    return undefined;
  } finally {
    asking.abort();
  }
}

/** A google.rpc.Status as the sentence, the reason and the fields that it holds. */
export function readFault(status: number, json: unknown): Fault {
  const body = (json ?? {}) as { message?: string; details?: Json[] };
  let reason = "";
  let metadata: Record<string, string> = {};
  const violations: FieldViolation[] = [];
  for (const detail of body.details ?? []) {
    const kind = String(detail["@type"] ?? "");
    if (kind.endsWith("google.rpc.ErrorInfo")) {
      reason = String(detail.reason ?? "");
      metadata = (detail.metadata ?? {}) as Record<string, string>;
    }
    if (kind.endsWith("google.rpc.BadRequest"))
      violations.push(...((detail.fieldViolations ?? []) as FieldViolation[]));
  }
  return new Fault(body.message || `The gateway answered with status ${status}.`, status, reason, violations, metadata);
}

/** Some calls answer with the task, some with a message that holds it. */
const taskOf = (json: Json): Task => readTask((json.task ?? json) as Json);

export interface Page {
  readonly tasks: Task[];
  /** Asks for the next page; empty: this was the last. */
  readonly next: string;
}

export async function listTasks(query: URLSearchParams, size: number, token = "", signal?: AbortSignal): Promise<Page> {
  const full = new URLSearchParams(query);
  full.set("pageSize", String(size));
  if (token) full.set("pageToken", token);
  const json = await call("GET", `tasks?${full}`, undefined, signal);
  return { tasks: ((json.tasks ?? []) as Json[]).map(readTask), next: String(json.nextPageToken ?? "") };
}

export const getTask = async (id: string, signal?: AbortSignal): Promise<Task> =>
  taskOf(await call("GET", `tasks/${encodeURIComponent(id)}`, undefined, signal));

export const submitTask = async (request: Json): Promise<Task> => taskOf(await call("POST", "tasks", request));

export const cancelTask = async (id: string, reason: string): Promise<Task> =>
  taskOf(await call("POST", `tasks/${encodeURIComponent(id)}/cancel`, reason ? { reason } : {}));

export const retryTask = async (id: string): Promise<Task> =>
  taskOf(await call("POST", `tasks/${encodeURIComponent(id)}/retry`, {}));

export const listQueues = async (signal?: AbortSignal): Promise<Json[]> =>
  ((await call("GET", "queues", undefined, signal)).queues ?? []) as Json[];

export const listWorkers = async (signal?: AbortSignal): Promise<Json[]> =>
  ((await call("GET", "workers", undefined, signal)).workers ?? []) as Json[];

/** Why a call failed, for people. */
export const sentence = (error: unknown): string =>
  error instanceof Fault ? error.message : "Something went wrong here.";
