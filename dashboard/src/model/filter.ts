import { STATUSES, type Status, type Task } from "./task";

/** Which tasks the list shows: a task matches if it matches every part that is set. */
export interface Filter {
  readonly statuses: readonly Status[];
  readonly type: string;
  readonly queue: string;
  readonly labels: readonly (readonly [string, string])[];
}

export const EVERYTHING: Filter = { statuses: [], type: "", queue: "", labels: [] };

export const isEverything = (filter: Filter): boolean =>
  !filter.statuses.length && !filter.type && !filter.queue && !filter.labels.length;

/** Whether it matches what may change in a task's life; the rest never changes, and the server has seen to it. */
export const admits = (filter: Filter, task: Pick<Task, "status">): boolean =>
  !filter.statuses.length || filter.statuses.includes(task.status);

// ------------------------------------------------------------------------------- in the page's own address

/** As the query of the page's address, like `status=failed&label=team%3Dblue`. */
export function toAddress(filter: Filter): string {
  const query = new URLSearchParams();
  if (filter.statuses.length) query.set("status", filter.statuses.join(",").toLowerCase());
  if (filter.type) query.set("type", filter.type);
  if (filter.queue) query.set("queue", filter.queue);
  for (const [key, value] of filter.labels) query.append("label", `${key}=${value}`);
  return query.toString();
}

export function fromAddress(query: URLSearchParams): Filter {
  const words = (query.get("status") ?? "").toUpperCase().split(",");
  return {
    statuses: STATUSES.filter((status) => words.includes(status)),
    type: query.get("type") ?? "",
    queue: query.get("queue") ?? "",
    labels: query.getAll("label").flatMap((label) => readLabel(label) ?? []),
  };
}

/** `key=value` as a list of one pair, or undefined if it is not of that form. */
function readLabel(label: string): [readonly [string, string]] | undefined {
  const at = label.indexOf("=");
  return at > 0 ? [[label.slice(0, at), label.slice(at + 1)]] : undefined;
}

// --------------------------------------------------------------------------------------- in a request

/** The server's query for tasks that match. */
export function toQuery(filter: Filter): URLSearchParams {
  const query = toStreamQuery(filter);
  for (const status of filter.statuses) query.append("status", `TASK_STATUS_${status}`);
  return query;
}

/**
 * The query for a stream of their events. It leaves out the status: the event by which a task leaves the filter is one
 * that the list must see, too.
 */
export function toStreamQuery(filter: Filter): URLSearchParams {
  const query = new URLSearchParams();
  if (filter.type) query.set("type", filter.type);
  if (filter.queue) query.set("queue", filter.queue);
  for (const [key, value] of filter.labels) query.append("label", `${key}=${value}`);
  return query;
}

// ------------------------------------------------------------------------------------------- as typed

const TASK_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export type Typed = { readonly taskId: string } | { readonly filter: Filter };

/**
 * What somebody means who types `typed` into the filter: `type:…`, `queue:…`, `status:…`, `key=value`, a task's id, or
 * the bare name of a type. It is added to `filter`.
 */
export function addTyped(filter: Filter, typed: string): Typed | undefined {
  const word = typed.trim();
  if (!word) return undefined;
  if (TASK_ID.test(word)) return { taskId: word.toLowerCase() };
  const [, field, value] = /^(type|queue|status):\s*(.+)$/i.exec(word) ?? [];
  if (field && value) {
    if (field.toLowerCase() !== "status") return { filter: { ...filter, [field.toLowerCase()]: value } };
    const status = STATUSES.find((known) => known === value.toUpperCase());
    return status && { filter: toggleStatus(filter, status, true) };
  }
  const label = readLabel(word);
  if (label) {
    const [[key]] = label;
    return { filter: { ...filter, labels: [...filter.labels.filter(([other]) => other !== key), ...label] } };
  }
  return { filter: { ...filter, type: word } };
}

export function toggleStatus(filter: Filter, status: Status, on = !filter.statuses.includes(status)): Filter {
  return { ...filter, statuses: STATUSES.filter((each) => (each === status ? on : filter.statuses.includes(each))) };
}
