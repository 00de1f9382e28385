import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatByteSize, parseByteSize } from "../../src/config/byte-size.ts";

const TOTAL = 10_000;

describe("byte sizes", () => {
  test.each([
    ["0", 0],
    ["65536", 65_536],
    ["65536B", 65_536],
    ["64k", 64_000],
    ["64kB", 64_000],
    ["64Ki", 65_536],
    ["64KiB", 65_536],
    ["512MiB", 536_870_912],
    ["512mib", 536_870_912],
    ["512 MiB", 536_870_912],
    ["2GB", 2_000_000_000],
    ["2g", 2_000_000_000],
    ["1.5GiB", 1_610_612_736],
    ["0.0001k", 0],
    ["1TiB", 1_099_511_627_776],
    ["40%", 4_000],
    ["0.5%", 50],
    ["100%", TOTAL],
  ])("%p is %p bytes", (text, bytes) => {
    expect(parseByteSize(text, TOTAL)).toBe(bytes);
  });

  test.each(
    [
      "",
      " ",
      "B",
      "%",
      "-1",
      "+1",
      "1.",
      ".5GiB",
      "1e9",
      "0x10",
      "1,5GiB",
      "1PB",
      "1 KiB B",
      "12 %%",
      "101%",
      "-5%",
      "1MiB\n",
      "9007199254740993",
      "99999999TiB",
      "NaN",
      "Infinity",
    ].map((text) => [text]),
  )("%p is no size", (text) => {
    expect(parseByteSize(text, TOTAL)).toBeNull();
  });

  test("whole numbers of a unit are exact", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), (count) => {
        expect(parseByteSize(`${count}KiB`, TOTAL)).toBe(count * 1024);
      }),
    );
  });

  test("what is shown for a size is never more than the size, and within a tenth of a unit", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), (bytes) => {
        const shown = parseByteSize(formatByteSize(bytes), TOTAL) ?? Number.NaN;
        expect(shown).toBeLessThanOrEqual(bytes);
        expect(shown).toBeGreaterThanOrEqual(bytes * 0.9 - 1);
      }),
    );
  });

  test.each([
    [512, "512B"],
    [4 * 1024 ** 2, "4MiB"],
    [6_335_000_000, "5.8GiB"],
  ])("%p bytes are shown as %p", (bytes, text) => {
    expect(formatByteSize(bytes)).toBe(text);
  });
});
