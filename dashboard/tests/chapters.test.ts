import { expect, test } from "vitest";
import { chapters } from "../src/model/chapters";
import { fold } from "../src/model/fold";
import { readEvent, readTask, type TaskEvent } from "../src/model/task";

const submitted = readTask({
  id: "a",
  type: "t",
  status: "TASK_STATUS_WAITING",
  sequence: "1",
  createTime: "2026-01-01T00:00:00Z",
});

const event = (sequence: number, type: string, status: string, attempt: number): TaskEvent =>
  readEvent({
    taskId: "a",
    sequence: String(sequence),
    type: `TYPE_${type}`,
    status: `TASK_STATUS_${status}`,
    attempt,
    time: `2026-01-01T00:00:0${sequence}Z`,
    worker: `w/${attempt}`,
  });

const LIFE = [
  event(1, "SUBMITTED", "WAITING", 0),
  event(2, "STARTED", "PROCESSING", 1),
  event(3, "RETRY_SCHEDULED", "WAITING", 1),
  event(4, "STARTED", "PROCESSING", 2),
  event(5, "PROGRESSED", "PROCESSING", 2),
  event(6, "RETRY_SCHEDULED", "WAITING", 2),
  event(7, "CANCELLED", "CANCELLED", 2),
];

const after = (count: number) => LIFE.slice(0, count).reduce(fold, submitted);
const outline = (found: ReturnType<typeof chapters>) =>
  found.map(({ attempt, status, events }) => [attempt, status, events.map(({ sequence }) => sequence)]);

test("a life is cut where attempts begin, and what comes between them ends the earlier one", () => {
  const found = chapters(after(7), LIFE);
  expect(outline(found)).toEqual([
    [0, "WAITING", [1]],
    [1, "WAITING", [2, 3]],
    [2, "WAITING", [4, 5, 6, 7]],
  ]);
  expect(found.at(-1)!.ended).toBe(LIFE[5]!.time);
});

test("an attempt that runs has no end", () => {
  const [, , running] = chapters(after(5), LIFE.slice(0, 5));
  expect(running).toMatchObject({ attempt: 2, begun: LIFE[3]!.time, worker: "w/2", status: "PROCESSING" });
  expect(running).not.toHaveProperty("ended");
});

test("of attempts whose events are gone the task itself tells", () => {
  const found = chapters(after(7), LIFE.slice(4));
  expect(outline(found)).toEqual([
    [1, "WAITING", []],
    [2, "WAITING", [5, 6, 7]],
  ]);
  expect([found[0]!.begun, found[0]!.ended, found[1]!.begun]).toEqual([LIFE[1]!.time, LIFE[2]!.time, LIFE[3]!.time]);
});
