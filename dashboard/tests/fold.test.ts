import { expect, test } from "vitest";
import { fold } from "../src/model/fold";
import { readEvent, readTask } from "../src/model/task";

const waiting = readTask({
  id: "a",
  type: "t",
  status: "TASK_STATUS_WAITING",
  sequence: "1",
  createTime: "2026-01-01T00:00:00Z",
});

const event = (sequence: number, type: string, status: string, more: object = {}) =>
  readEvent({
    taskId: "a",
    sequence: String(sequence),
    type: `TYPE_${type}`,
    status: `TASK_STATUS_${status}`,
    attempt: 1,
    time: `2026-01-01T00:00:0${sequence}Z`,
    ...more,
  });

const started = event(2, "STARTED", "PROCESSING", { worker: "w/1" });
const progressed = event(3, "PROGRESSED", "PROCESSING", { progress: { percent: 40, message: "page 2" } });
const retried = event(4, "RETRY_SCHEDULED", "WAITING", {
  error: { code: "E", message: "no" },
  nextAttemptTime: "2026-01-01T00:00:09Z",
});
const again = event(5, "STARTED", "PROCESSING", { attempt: 2, worker: "w/2" });
const succeeded = event(6, "SUCCEEDED", "SUCCESS", { attempt: 2, result: { pages: 2 } });

test("a life folds to the task that the server would show", () => {
  const task = [started, progressed, retried, again, succeeded].reduce(fold, waiting);
  expect(task).toMatchObject({ status: "SUCCESS", sequence: 6, attempt: 2, result: { pages: 2 }, error: undefined });
  expect(task.attempts.map(({ number, worker, outcome }) => [number, worker, outcome])).toEqual([
    [1, "w/1", "WAITING"],
    [2, "w/2", "SUCCESS"],
  ]);
  expect([task.started, task.ended]).toEqual([started.time, succeeded.time]);
});

test("an event that the task knows changes nothing", () => {
  const task = [started, progressed].reduce(fold, waiting);
  expect(fold(task, started)).toBe(task);
});

test("a new attempt begins without the progress and the error of the one before", () => {
  const task = [started, progressed, retried, again].reduce(fold, waiting);
  expect([task.progress, task.error, task.nextAttempt]).toEqual([undefined, undefined, undefined]);
});

test("progress without a percentage is reckoned from the units, or stays unknown", () => {
  const percent = (progress: object) => event(2, "PROGRESSED", "PROCESSING", { progress }).progress?.percent;
  expect(percent({ completed: "1", total: "4" })).toBe(25);
  expect(percent({ total: "4" })).toBe(0);
  expect(percent({ message: "working" })).toBeUndefined();
});
