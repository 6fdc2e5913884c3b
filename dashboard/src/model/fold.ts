import { isTerminal, type Attempt, type Task, type TaskEvent } from "./task";

/** The task after `event`, or the task itself if it knows the event already. The rules are those of the server's fold. */
export function fold(task: Task, event: TaskEvent): Task {
  if (event.sequence <= task.sequence) return task;
  const common = {
    ...task,
    status: event.status,
    sequence: event.sequence,
    attempt: event.attempt || task.attempt,
    updated: event.time,
  };
  if (event.type === "PROGRESSED") return { ...common, progress: event.progress };
  if (event.type === "STARTED") {
    return {
      ...common,
      started: task.started ?? event.time,
      progress: undefined,
      error: undefined,
      nextAttempt: undefined,
      attempts: [...task.attempts, { number: event.attempt, worker: event.worker, started: event.time }],
    };
  }
  return {
    ...common,
    error: event.error,
    nextAttempt: event.nextAttempt,
    cancelReason: event.cancelReason,
    ended: isTerminal(event.status) ? event.time : undefined,
    result: event.result ?? task.result,
    attempts: endLast(task.attempts, event),
  };
}

function endLast(attempts: readonly Attempt[], event: TaskEvent): readonly Attempt[] {
  const last = attempts.at(-1);
  if (!last || last.ended !== undefined) return attempts;
  const ended: Attempt = {
    ...last,
    ended: event.time,
    outcome: event.status,
    ...(event.error && { error: event.error }),
  };
  return [...attempts.slice(0, -1), ended];
}
