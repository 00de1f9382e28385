import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { durationToMs, parseGoDuration } from "../../src/config/duration.ts";

// What Go 1.22's time.ParseDuration gives for each, after the tables of its own src/time/time_test.go.
const accepted: readonly (readonly [string, bigint])[] = [
  ["0", 0n],
  ["+0", 0n],
  ["-0", 0n],
  ["0s", 0n],
  ["-0s", 0n],
  ["0h0m0.0s", 0n],
  ["5s", 5_000_000_000n],
  ["30s", 30_000_000_000n],
  ["1478s", 1_478_000_000_000n],
  ["-5s", -5_000_000_000n],
  ["+5s", 5_000_000_000n],
  ["5.0s", 5_000_000_000n],
  ["5.6s", 5_600_000_000n],
  ["5.s", 5_000_000_000n],
  ["1.s", 1_000_000_000n],
  [".5s", 500_000_000n],
  ["-.5s", -500_000_000n],
  ["1.0s", 1_000_000_000n],
  ["1.00s", 1_000_000_000n],
  ["1.004s", 1_004_000_000n],
  ["1.0040s", 1_004_000_000n],
  ["100.00100s", 100_001_000_000n],
  ["10ns", 10n],
  ["11us", 11_000n],
  ["12\u00b5s", 12_000n],
  ["12\u03bcs", 12_000n],
  ["13ms", 13_000_000n],
  ["14s", 14_000_000_000n],
  ["15m", 900_000_000_000n],
  ["16h", 57_600_000_000_000n],
  ["3h30m", 12_600_000_000_000n],
  ["10.5s4m", 250_500_000_000n],
  ["-2m3.4s", -123_400_000_000n],
  ["1h2m3s4ms5us6ns", 3_723_004_005_006n],
  ["39h9m14.425s", 140_954_425_000_000n],
  ["1s1s1s", 3_000_000_000n],
  ["52763797000ns", 52_763_797_000n],
  ["0.3333333333333333333h", 1_200_000_000_000n],
  ["0.100000000000000000000h", 360_000_000_000n],
  ["0.9223372036854775807s", 922_337_203n],
  ["0.830103483285477580700h", 2_988_372_539_827n],
  ["0.5ns", 0n],
  ["1.9ns", 1n],
  ["9007199254740993ns", 9_007_199_254_740_993n],
  ["9223372036854775807ns", 9_223_372_036_854_775_807n],
  ["9223372036854775.807us", 9_223_372_036_854_775_807n],
  ["9223372036s854ms775us807ns", 9_223_372_036_854_775_807n],
  ["-9223372036854775807ns", -9_223_372_036_854_775_807n],
  ["-9223372036854775808ns", -9_223_372_036_854_775_808n],
  ["-9223372036854775.808us", -9_223_372_036_854_775_808n],
  ["-9223372036s854ms775us808ns", -9_223_372_036_854_775_808n],
  ["2562047h47m16.854775807s", 9_223_372_036_854_775_807n],
  ["-2562047h47m16.854775808s", -9_223_372_036_854_775_808n],
  [`${"0".repeat(500)}7s`, 7_000_000_000n],
  [`0.${"3".repeat(500)}s`, 333_333_333n],
];

const rejected: readonly string[] = [
  "",
  "3",
  "-",
  "+",
  "--5s",
  "+-5s",
  "s",
  ".",
  "-.",
  ".s",
  "+.s",
  "1.2.3s",
  "1d",
  "1w",
  "5S",
  "5 s",
  " 5s",
  "5s ",
  "5s\n",
  "1,5s",
  "1e3s",
  "0x10s",
  "٣s",
  "00",
  "-00",
  "0.0",
  "1m2",
  "1h-5m",
  "5mss",
  "\u00b5s",
  "\x85\x85",
  "\xffff",
  "hello \xffff world",
  "Infinity",
  "NaNs",
  "9223372036854775808ns",
  "-9223372036854775809ns",
  "9223372036854775.808us",
  "9223372036854ms775us808ns",
  "9223372036854775810ns",
  "9223372036854775808ns0.000000001s",
  "3000000h",
  "-3000000h",
  "2562047h47m16.854775808s",
  `${"9".repeat(100_000)}ns`,
];

describe("Go durations", () => {
  test.each(accepted)("%p is read as %p ns", (text, ns) => {
    expect(parseGoDuration(text)).toEqual({ ok: true, ns });
  });

  test.each(rejected.map((text) => [text]))("%p is refused with a reason", (text) => {
    const result = parseGoDuration(text);
    expect(result.ok).toBe(false);
    expect(result.ok ? "" : result.reason).toMatch(/^.{10,120}$/);
  });

  test("a sum of whole terms is the sum of its terms, whatever their order", () => {
    const units = { ns: 1n, us: 1_000n, ms: 1_000_000n, s: 1_000_000_000n, m: 60_000_000_000n, h: 3_600_000_000_000n };
    const term = fc.tuple(fc.bigInt(0n, 100_000n), fc.constantFrom(...Object.entries(units)));
    const sign = fc.constantFrom("", "+", "-");
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 8 }), sign, (terms, prefix) => {
        const text = prefix + terms.map(([count, [unit]]) => `${count}${unit}`).join("");
        const sum = terms.reduce((ns, [count, [, scale]]) => ns + count * scale, 0n);
        expect(parseGoDuration(text)).toEqual({ ok: true, ns: prefix === "-" ? -sum : sum });
      }),
    );
  });

  test("any number of nanoseconds within int64 is read back exactly, and nothing outside of it is", () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 65n), 2n ** 65n), (ns) => {
        const fits = ns >= -(2n ** 63n) && ns < 2n ** 63n;
        const result = parseGoDuration(`${ns}ns`);
        expect(result.ok).toBe(fits);
        if (result.ok) expect(result.ns).toBe(ns);
      }),
    );
  });

  test("any text is either read or refused, and never throws", () => {
    const nearDurations = fc.string({ unit: fc.constantFrom(..."0123456789.+-nuµμmsh "), maxLength: 30 });
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearDurations), (text) => {
        const result = parseGoDuration(text);
        // Go's grammar, from the documentation of time.ParseDuration; `+` because a term may not lack digits.
        const grammar = /^[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$/;
        if (result.ok) expect(text).toMatch(grammar);
        else expect(grammar.test(text) && !result.reason.startsWith("out of range")).toBe(false);
      }),
    );
  });
});

describe("milliseconds of a duration", () => {
  test.each([
    [0n, 0],
    [1n, 1],
    [999_999n, 1],
    [1_000_000n, 1],
    [1_000_001n, 2],
    [-1n, -1],
    [-1_000_000n, -1],
    [-1_000_001n, -2],
    [9_223_372_036_854_775_807n, 9_223_372_036_855],
    [-9_223_372_036_854_775_808n, -9_223_372_036_855],
  ])("%p ns is %p ms, rounded away from zero", (ns, ms) => {
    expect(durationToMs(ns)).toBe(ms);
  });
});
