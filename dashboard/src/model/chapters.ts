/** The story of a task, cut into attempts. */

import type { Attempt, Status, Task, TaskEvent } from "./task";

export interface Chapter {
  /** 0: before the first attempt. */
  readonly attempt: number;
  readonly begun: number;
  /** Absent while it runs. */
  readonly ended?: number;
  readonly worker: string;
  /** Where the attempt has left the task. */
  readonly status: Status;
  readonly events: readonly TaskEvent[];
}

/**
 * Events by attempt; what happens between two attempts belongs to the earlier one. Of attempts whose events are no longer
 * kept the task itself tells when they were and how they ended.
 */
export function chapters(task: Task, events: readonly TaskEvent[]): Chapter[] {
  const groups: TaskEvent[][] = [];
  for (const event of events) {
    const current = groups.at(-1);
    if (current && event.type !== "STARTED") current.push(event);
    else groups.push([event]);
  }
  const told = groups.map((group) => fromEvents(task, group));
  const [first] = told;
  const untold = task.attempts.filter(({ number }) => first !== undefined && number < first.attempt);
  return [...untold.map(fromAttempt), ...told];
}

function fromEvents(task: Task, events: readonly TaskEvent[]): Chapter {
  const [first, last] = [events[0]!, events.at(-1)!];
  const known = task.attempts.find(({ number }) => number === first.attempt);
  const ended = known ? known.ended : last.time;
  return {
    attempt: first.attempt,
    begun: known?.started ?? first.time,
    ...(ended === undefined ? {} : { ended }),
    worker: known?.worker || first.worker,
    status: known?.outcome ?? last.status,
    events,
  };
}

function fromAttempt({ number, worker, started = 0, ended = started, outcome = "WAITING" }: Attempt): Chapter {
  return { attempt: number, begun: started, ended, worker, status: outcome, events: [] };
}
