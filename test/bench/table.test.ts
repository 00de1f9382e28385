import { expect, test } from "bun:test";
import { markdownTable, median } from "../../bench/support/table.ts";

test("the median of an odd number of values is the middle one, of an even number the mean of the middle two", () => {
  expect(median([5, 1, 3])).toBe(3);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test("a table aligns names to the left and numbers to the right", () => {
  expect(markdownTable(["name", "n"], [["a", "1,000"]])).toBe("| name |     n |\n|------|------:|\n| a    | 1,000 |");
});
