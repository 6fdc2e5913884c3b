import { expect, test } from "vitest";
import { explainJson } from "../src/model/explain-json";

test.each(['{"a": [1, -2.5e3, true, null, "\\u00e9\\n"], "b": {}}', "3", '" "', " [ ] ", '{"a":{"b":[[]]}}'])(
  "%s is JSON",
  (text) => {
    expect(explainJson(text)).toBe("");
  },
);

test.each([
  ['{\n  "a": oops\n}', "Line 2, column 8: a value is expected"],
  ['{"a": ', "Line 1, column 7: a value is missing."],
  ['{"a": 1', "Line 1, column 8: } is missing."],
  ["{'a': 1}", "Line 1, column 2: a key in double quotes is expected."],
  ["['a']", "Line 1, column 2: strings stand in double quotes."],
  ['{"a" 1}', "Line 1, column 6: a colon is expected after the key."],
  ['{"a": 1 "b": 2}', "Line 1, column 9: a comma or } is expected."],
  ["[1, 2,]", "Line 1, column 7: there is a comma before ]."],
  ['{"a": 1}\n}', "Line 2, column 1: there is more after the end of the value."],
  ['{"a": "b\n"}', "Line 1, column 7: the string does not end on its line."],
  ['["\\x"]', "Line 1, column 2: the string has a wrong escape."],
  ["[01]", "Line 1, column 2: a value is expected"],
])("%j is explained", (text, beginning) => {
  expect(explainJson(text).startsWith(beginning)).toBe(true);
  expect(() => JSON.parse(text)).toThrow();
});
