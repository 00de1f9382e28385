import { expect, test } from "bun:test";
import { s3Fifo, s3FifoWith } from "../../bench/simulators/s3-fifo.ts";
import { outcomes } from "./policies.ts";

test("S3-FIFO evicts what was not hit in the small queue, in order of arrival", () => {
  // Of 10 items, k evicts a, b … stay.
  expect(outcomes(s3Fifo, 10, "abcdefghijkba")).toBe("...........H.");
});

test("S3-FIFO moves what was hit twice in the small queue to the main queue", () => {
  // a was hit twice: it is in the main queue while b, c … leave the small one.
  expect(outcomes(s3Fifo, 10, "aaabcdefghijklmnopqrsta")).toBe(".HH...................H");
});

test("S3-FIFO lets go what was hit once in the small queue, unless one hit is enough to be promoted", () => {
  const sequence = "aabcdefghijklmnopqrsta";
  expect(outcomes(s3Fifo, 10, sequence).at(-1)).toBe(".");
  expect(outcomes(s3FifoWith({ promoteAtHits: 1 }), 10, sequence).at(-1)).toBe("H");
});

test("S3-FIFO puts what comes back while it is remembered into the main queue", () => {
  // k evicts a; a comes back as a ghost's key and stays through a scan that is longer than the cache.
  expect(outcomes(s3Fifo, 10, "abcdefghijkalmnopqrstuvwxa").at(-1)).toBe("H");
});
