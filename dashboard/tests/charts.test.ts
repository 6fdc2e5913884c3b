import { expect, test } from "vitest";
import { Activity, BIN_MS, BINS } from "../src/model/activity";
import { barScale, timeScale } from "../src/model/scales";
import { readEvent, readTask } from "../src/model/task";

const at = (ms: number): string => new Date(ms).toISOString();
const event = (id: string, type: string, status: string, time: number) =>
  readEvent({ taskId: id, sequence: "1", type: `TYPE_${type}`, status: `TASK_STATUS_${status}`, time: at(time) });

test("what ended is counted in its bin, once, however often one hears of it", () => {
  const activity = new Activity();
  const now = 10_000 * BIN_MS;
  activity.take(event("a", "SUBMITTED", "WAITING", now - 3 * BIN_MS));
  activity.take(event("a", "SUCCEEDED", "SUCCESS", now - 2 * BIN_MS));
  activity.read(
    readTask({
      id: "a",
      status: "TASK_STATUS_SUCCESS",
      createTime: at(now - 3 * BIN_MS),
      endTime: at(now - 2 * BIN_MS),
    }),
  );
  activity.take(event("b", "FAILED", "FAILED", now - 2 * BIN_MS + 1));
  const slices = activity.slices(now);
  expect(slices).toHaveLength(BINS);
  expect(slices.at(-2)).toEqual({ succeeded: 0.2, other: 0.2, median: BIN_MS, slow: BIN_MS });
  expect(slices.at(-1)).toEqual({ succeeded: 0, other: 0 });
});

test("the time of a delayed task counts from when it could start", () => {
  const activity = new Activity();
  const now = 10_000 * BIN_MS;
  const times = { createTime: at(now - 900_000), scheduleTime: at(now - BIN_MS - 200), endTime: at(now - BIN_MS) };
  activity.read(readTask({ id: "a", status: "TASK_STATUS_SUCCESS", ...times }));
  expect(activity.slices(now).at(-1)?.median).toBe(200);
});

test("a scale ends at a round number above every value", () => {
  expect(barScale([0, 7.2]).ticks).toEqual([0, 5, 10]);
  expect(barScale([]).ticks).toEqual([0, 0.5, 1]);
  expect(timeScale([12, 800, undefined]).ticks).toEqual([10, 100, 1_000]);
  expect(timeScale([1_000, 1_000]).ticks).toEqual([1_000, 10_000]);
  expect(timeScale([0, 9e9]).height(9e9)).toBeGreaterThan(1);
});
