import { expect, test } from "bun:test";
import { etagOf, MAX_ETAG_BYTES, writeEtag } from "../../../src/http/transport/etag-text.ts";

const TAGS = [0, 1, 35, 36, 2 ** 26 - 1, 2 ** 26, 36 ** 5, 36 ** 6, 2 ** 48 + 12_345, Number.MAX_SAFE_INTEGER];

function expected(tag: number, representation: string): string {
  const halves = [Math.floor(tag / 2 ** 26), tag % 2 ** 26].map((half) => half.toString(36));
  return `"${halves.join(".")}${representation}"`;
}

for (const representation of ["", "-raw", "-decoded"] as const) {
  test(`an ETag is written as it reads, ending with "${representation}"`, () => {
    for (const tag of TAGS) {
      const buffer = Buffer.alloc(MAX_ETAG_BYTES + 2, "#");
      const end = writeEtag(buffer, 1, tag, representation);
      expect(buffer.toString("latin1", 1, end)).toBe(expected(tag, representation));
      expect(etagOf(tag, representation)).toBe(expected(tag, representation));
      expect(buffer.toString("latin1", end)).toBe("#".repeat(buffer.length - end));
    }
  });
}
