import { expect, test } from "vitest";
import { age, contractSpan, span } from "../src/model/words";

test.each([
  [0, "0 ms"],
  [840, "840 ms"],
  [4_200, "4.2 s"],
  [9_960, "10 s"],
  [59_990, "1 m"],
  [200_000, "3 m 20 s"],
  [3_600_000, "1 h"],
  [18_120_000, "5 h 2 m"],
  [273_600_000, "3 d 4 h"],
])("a span of %d ms is put as %s", (ms, words) => {
  expect(span(ms)).toBe(words);
});

test("an age ticks in whole seconds and is never negative", () => {
  expect([age(-500), age(999), age(61_000)]).toEqual(["0 s", "0 s", "1 m 1 s"]);
});

test("durations of the contract are put into words", () => {
  expect([contractSpan("60s"), contractSpan("0.500s")]).toEqual(["1 m", "500 ms"]);
});
