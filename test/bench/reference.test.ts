import { describe, expect, test } from "bun:test";
import { lru } from "../../bench/simulators/lru.ts";
import { opt } from "../../bench/simulators/opt.ts";
import { hitRatio } from "../../bench/simulators/policy.ts";
import { s3Fifo } from "../../bench/simulators/s3-fifo.ts";
import { sieve } from "../../bench/simulators/sieve.ts";
import { loadTrace, TRACE_FILES, traceFolder } from "../../bench/support/traces.ts";

const FOUR_DIGITS = 4;

/** orm-busy takes seconds: the benchmark covers it. */
const QUICK_TRACES = TRACE_FILES.filter(({ name }) => name !== "orm-busy");

// The traces are not part of the repository: these tests exist where they lie beside it.
const folder = traceFolder();
if (folder !== null) {
  describe.each(QUICK_TRACES.map((trace) => ({ trace, name: trace.name })))("on the trace $name", ({ trace }) => {
    const requests = loadTrace(trace, folder);

    test.each([...trace.reference])("the policies give the reference ratios with $items items", (reference) => {
      expect(hitRatio(lru, reference.items, requests)).toBeCloseTo(reference.lru, FOUR_DIGITS);
      expect(hitRatio(sieve, reference.items, requests)).toBeCloseTo(reference.sieve, FOUR_DIGITS);
      expect(hitRatio(opt, reference.items, requests)).toBeCloseTo(reference.opt, FOUR_DIGITS);
      // Papers leave details of the ghost queue open: nearly the same, not quite.
      expect(Math.abs(hitRatio(s3Fifo, reference.items, requests) - reference.s3Fifo)).toBeLessThan(0.001);
    });
  });
}
