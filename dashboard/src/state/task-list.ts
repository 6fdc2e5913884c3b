/** The live list: the newest tasks that match a filter, kept true by events, and read again whenever some were missed. */

import { batch, signal } from "@preact/signals";
import { getTask, listTasks, sentence, type Page } from "../api/http";
import { Stream } from "../api/stream";
import { admits, toQuery, toStreamQuery, type Filter } from "../model/filter";
import { fold } from "../model/fold";
import type { Task, TaskEvent } from "../model/task";
import { oncePerFrame } from "./frame";

const FIRST_PAGE = 100;
const LARGE_PAGE = 1_000;
/** The list holds no more than so many tasks; older ones are found by a narrower filter. */
export const MOST_TASKS = 20_000;
/** After a lost connection so many are read again at most; older ones come back as one scrolls. */
const MOST_REREAD = 3_000;
/** How long tasks that are new to the page are gathered, to be read by one call. */
const GATHER_MS = 250;
/** Strangers that are not among the newest are read one by one: so many in a round, the others when they stir again. */
const MOST_SINGLE_READS = 10;

export class TaskList {
  /** The ids in the order of the list, newest first: a new array with every change of the order. */
  readonly order = signal<readonly string[]>([]);
  /** Goes up in every frame in which some task changed. */
  readonly changes = signal(0);
  readonly loading = signal(true);
  readonly failure = signal("");
  /** Whether the server has older tasks than the last one here. */
  readonly more = signal(false);
  readonly paused = signal(false);
  /** The changes that a paused list has not shown. */
  readonly missed = signal(0);

  private tasks = new Map<string, Task>();
  private ids: string[] = [];
  private orderChanged = false;
  private readonly leaving = new Set<string>();
  /** Tasks that events speak of and the list does not hold. */
  private readonly strangers = new Set<string>();
  /** Strangers that were looked at and do not belong here. */
  private readonly outsiders = new Set<string>();
  private gathering: ReturnType<typeof setTimeout> | undefined;
  private token = "";
  private hiddenChanges = 0;
  private readonly query: URLSearchParams;
  private readonly stream: Stream;
  private readonly closing = new AbortController();
  private readonly show = oncePerFrame(() => this.flush());

  /** `length`: how far down to read at first, where one returns to a list. */
  constructor(
    readonly filter: Filter,
    private length = 0,
  ) {
    this.query = toQuery(filter);
    const query = toStreamQuery(filter).toString();
    this.stream = new Stream({
      url: () => (query ? `stream?${query}` : "stream"),
      // What was read before the stream stood may have changed unseen.
      opened: () => void this.reload(),
      event: (event) => this.take(event),
      refused: (fault) => {
        this.failure.value = fault.message;
        this.loading.value = false;
        return false;
      },
    });
    void this.reload();
  }

  close(): void {
    this.stream.close();
    this.closing.abort();
    clearTimeout(this.gathering);
  }

  get(id: string): Task | undefined {
    return this.tasks.get(id);
  }

  all(): Iterable<Task> {
    return this.tasks.values();
  }

  pause(): void {
    this.paused.value = true;
  }

  resume(): void {
    this.paused.value = false;
    this.hiddenChanges = this.missed.value = 0;
    void this.reload();
  }

  // ------------------------------------------------------------------------------------------- events

  private take(event: TaskEvent): void {
    if (this.paused.value) {
      this.hiddenChanges++;
      this.show();
      return;
    }
    const task = this.tasks.get(event.taskId);
    if (task) this.put(fold(task, event));
    else if (admits(this.filter, event) && !this.outsiders.has(event.taskId)) this.greet(event.taskId);
  }

  private put(task: Task): void {
    if (this.tasks.get(task.id) === task) return;
    this.tasks.set(task.id, task);
    if (admits(this.filter, task)) this.leaving.delete(task.id);
    else this.leaving.add(task.id);
    this.show();
  }

  private greet(id: string): void {
    this.strangers.add(id);
    this.gathering ??= setTimeout(() => void this.meetStrangers(), GATHER_MS);
  }

  private async meetStrangers(): Promise<void> {
    const strangers = [...this.strangers];
    this.strangers.clear();
    try {
      const page = await this.read(Math.min(LARGE_PAGE, Math.max(50, 2 * strangers.length)));
      const reachesKnown = !page.next || page.tasks.some((task) => this.tasks.has(task.id));
      if (reachesKnown) this.merge(page.tasks);
      else await this.reload();
      const unmet = strangers.filter((id) => !this.tasks.has(id));
      // By status a task may come to belong anywhere. Otherwise those that are not among the newest are older than all here.
      if (this.filter.statuses.length) await Promise.all(unmet.slice(0, MOST_SINGLE_READS).map((id) => this.meet(id)));
      else unmet.forEach((id) => this.outsiders.add(id));
    } catch {
      // The stream will be lost as well, or the next event brings them back.
    } finally {
      this.gathering = undefined;
      const [next] = this.strangers;
      if (next !== undefined && !this.closing.signal.aborted) this.greet(next);
    }
  }

  /** Read a task that is not among the newest, and keep it if it belongs between those that are loaded. */
  private async meet(id: string): Promise<void> {
    const task = await getTask(id, this.closing.signal);
    const last = this.tasks.get(this.ids.at(-1) ?? "");
    const beyond = this.token !== "" && last !== undefined && newestFirst(last, task) < 0;
    if (beyond) this.outsiders.add(id);
    else if (admits(this.filter, task)) this.merge([task]);
  }

  // ------------------------------------------------------------------------------------------- reading

  private read(size: number, token = ""): Promise<Page> {
    return listTasks(this.query, size, token, this.closing.signal);
  }

  /** Read the list anew, as far down as it was loaded. What events have told meanwhile stays. */
  private async reload(): Promise<void> {
    if (this.paused.value) return;
    const wanted = Math.min(Math.max(this.ids.length, this.length, FIRST_PAGE), MOST_REREAD);
    try {
      let page = await this.read(Math.min(wanted, LARGE_PAGE));
      const found = page.tasks;
      while (found.length < wanted && page.next) {
        page = await this.read(LARGE_PAGE, page.next);
        found.push(...page.tasks);
      }
      const before = this.tasks;
      const newest = found[0];
      // Submitted and met while the pages were under way.
      const arrived = [...before.values()].filter((task) => !newest || newestFirst(task, newest) < 0);
      this.tasks = new Map();
      this.ids = [];
      this.outsiders.clear();
      this.token = page.next;
      this.merge([...found, ...(newest ? arrived : [])].map((task) => later(before.get(task.id), task)));
      this.failure.value = "";
      this.length = 0;
    } catch (error) {
      if (!this.closing.signal.aborted) this.failure.value = sentence(error);
    } finally {
      this.orderChanged = true;
      this.loading.value = false;
      this.show();
    }
  }

  /** Read the next page of older tasks. */
  async loadOlder(): Promise<void> {
    if (!this.token || this.loading.value || this.ids.length >= MOST_TASKS) return;
    this.loading.value = true;
    const token = this.token;
    try {
      const page = await this.read(LARGE_PAGE, token);
      // A reload in between has read from the top, and has a token of its own.
      if (this.token === token) {
        this.token = page.next;
        this.orderChanged = true;
        this.outsiders.clear();
        this.merge(page.tasks);
      }
      this.failure.value = "";
    } catch (error) {
      if (!this.closing.signal.aborted) this.failure.value = sentence(error);
    } finally {
      this.loading.value = false;
      this.show();
    }
  }

  private merge(found: readonly Task[]): void {
    const fresh: Task[] = [];
    for (const task of found) {
      const known = this.tasks.get(task.id);
      if (!known) fresh.push(task);
      this.put(later(known, task));
    }
    if (!fresh.length) return;
    this.ids = this.interleave(fresh.sort(newestFirst));
    for (const id of this.ids.splice(MOST_TASKS)) this.tasks.delete(id);
    this.orderChanged = true;
    this.show();
  }

  /** The ids with those of `fresh` (newest first) at their places. */
  private interleave(fresh: readonly Task[]): string[] {
    const merged: string[] = [];
    let next = 0;
    for (const id of this.ids) {
      const task = this.tasks.get(id)!;
      while (next < fresh.length && newestFirst(fresh[next]!, task) < 0) merged.push(fresh[next++]!.id);
      merged.push(id);
    }
    while (next < fresh.length) merged.push(fresh[next++]!.id);
    return merged;
  }

  private flush(): void {
    if (this.leaving.size) {
      this.ids = this.ids.filter((id) => !this.leaving.has(id));
      for (const id of this.leaving) this.tasks.delete(id);
      this.leaving.clear();
      this.orderChanged = true;
    }
    batch(() => {
      if (this.orderChanged) this.order.value = [...this.ids];
      this.orderChanged = false;
      this.more.value = this.token !== "";
      this.missed.value = this.hiddenChanges;
      this.changes.value++;
    });
  }
}

/** The order of the server: by time of submit, then by id, both from the top. */
const newestFirst = (one: Task, other: Task): number =>
  other.created - one.created || (one.id < other.id ? 1 : one.id > other.id ? -1 : 0);

/** Of two readings of one task the one that knows more of its events. */
const later = (one: Task | undefined, other: Task): Task => (one && one.sequence >= other.sequence ? one : other);
