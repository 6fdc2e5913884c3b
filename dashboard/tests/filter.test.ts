import { expect, test } from "vitest";
import { addTyped, EVERYTHING, fromAddress, toAddress, toQuery, toStreamQuery, type Filter } from "../src/model/filter";

const full: Filter = { statuses: ["FAILED", "ERROR"], type: "a.b", queue: "bulk", labels: [["team", "blue=red"]] };

test("a filter survives the page's address", () => {
  expect(fromAddress(new URLSearchParams(toAddress(full)))).toEqual(full);
});

test("an address with nonsense is a filter without it", () => {
  expect(fromAddress(new URLSearchParams("status=failed,what&label=novalue"))).toEqual({
    ...EVERYTHING,
    statuses: ["FAILED"],
  });
});

test("a request names the statuses, a stream does not: a task that leaves must be seen to leave", () => {
  expect(toQuery(full).getAll("status")).toEqual(["TASK_STATUS_FAILED", "TASK_STATUS_ERROR"]);
  expect(toStreamQuery(full).toString()).toBe("type=a.b&queue=bulk&label=team%3Dblue%3Dred");
});

test.each([
  ["type:mail.send", { type: "mail.send" }],
  ["mail.send", { type: "mail.send" }],
  ["queue: bulk", { queue: "bulk" }],
  ["status:failed", { statuses: ["FAILED"] }],
  ["team=blue", { labels: [["team", "blue"]] }],
])("%s typed into the filter is understood", (typed, expected) => {
  expect(addTyped(EVERYTHING, typed)).toEqual({ filter: { ...EVERYTHING, ...expected } });
});

test("a task's id typed into the filter opens the task", () => {
  const id = "01a20ab1-4948-701e-88d2-9fdede967e15";
  expect(addTyped(EVERYTHING, ` ${id.toUpperCase()} `)).toEqual({ taskId: id });
});

test("a status that there is not is refused, and nothing typed means nothing", () => {
  expect(addTyped(EVERYTHING, "status:done")).toBeUndefined();
  expect(addTyped(EVERYTHING, "  ")).toBeUndefined();
});

test("a label typed again takes the place of the one before", () => {
  const typed = addTyped(full, "team=green");
  expect(typed).toEqual({ filter: { ...full, labels: [["team", "green"]] } });
});
