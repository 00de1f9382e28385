import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { JSON_CONTENT_TYPE, MAX_VALUE_BYTES } from "../../src/model/entry.ts";
import { hasValue, type Mutation, type PutMutation, valueBytes } from "../../src/model/mutation.ts";
import {
  decodeMutation,
  encodeMutation,
  MutationFormatError,
  MutationReader,
  mostBytes,
  readSummary,
  SUMMARY_BYTES,
  writeMutation,
} from "../../src/model/mutation-codec.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { anyMutation } from "../support/any-mutation.ts";

const STAMP = { version: toVersion(2 ** 48), nodeId: 7 };
const put = (more: Partial<PutMutation> = {}): PutMutation => ({
  ...{ kind: "put", key: "key", value: { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE } },
  ...{ expiresAtMs: 9, stamp: STAMP, ...more },
});

/** The bytes of a mutation, changed. */
function changed(mutation: Mutation, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(encodeMutation(mutation));
  change(bytes);
  return bytes;
}

describe("a mutation as bytes", () => {
  test("comes back as it was, whatever it is", () => {
    fc.assert(
      fc.property(anyMutation, (mutation) => {
        const bytes = encodeMutation(mutation);
        expect(decodeMutation(bytes)).toEqual(mutation);
        expect(bytes.length).toBeLessThanOrEqual(mostBytes(mutation));
      }),
      { numRuns: 1000 },
    );
  });

  test("stands among others, and leaves out its trace context where that goes another way", () => {
    fc.assert(
      fc.property(fc.array(anyMutation, { maxLength: 20 }), (mutations) => {
        const buffer = Buffer.alloc(mutations.reduce((sum, mutation) => sum + mostBytes(mutation), 100));
        let end = 100;
        for (const mutation of mutations) end = writeMutation(buffer, end, mutation, false);
        const reader = new MutationReader(buffer, 100, end);
        const read: Mutation[] = [];
        while (!reader.isAtEnd) read.push(reader.next());
        expect(read).toEqual(mutations.map((mutation) => ({ ...mutation, traceContext: undefined })));
      }),
    );
  });

  test("has a summary in its first bytes", () => {
    fc.assert(
      fc.property(anyMutation, (mutation) => {
        expect(readSummary(encodeMutation(mutation).subarray(0, SUMMARY_BYTES))).toEqual({
          kind: mutation.kind,
          contentType: hasValue(mutation) ? mutation.value.contentType : "",
          valueBytes: valueBytes(mutation),
        });
      }),
    );
  });

  test("may be as large as entries get", () => {
    const bytes = Buffer.alloc(MAX_VALUE_BYTES, "x");
    const largest = put({ key: "é".repeat(512), value: { bytes, contentType: "x".repeat(255) } });
    const read = decodeMutation(encodeMutation(largest));
    expect(hasValue(read) && read.value.bytes.equals(bytes)).toBe(true);
    expect(read).toMatchObject({ key: largest.key, stamp: STAMP });
  });

  test("that is cut, at whatever place, is refused", () => {
    for (const mutation of [put(), { ...put(), kind: "touch", touch: STAMP } as const]) {
      const whole = encodeMutation(mutation);
      for (let length = 0; length < whole.length; length++) {
        expect(() => decodeMutation(whole.subarray(0, length))).toThrow("cut off");
      }
    }
    expect(() => readSummary(encodeMutation(put()).subarray(0, 31))).toThrow("cut off");
  });

  test.each<[string, Buffer, string]>([
    ["goes on", Buffer.concat([encodeMutation(put()), Buffer.alloc(1)]), "goes on behind its end"],
    ["no kind", changed(put(), (bytes) => bytes.fill(0, 0, 1)), "of kind 0, which is not known here"],
    ["a later kind", changed(put(), (bytes) => bytes.fill(6, 0, 1)), "of kind 6, which is not known here"],
    ["no key", encodeMutation(put({ key: "" })), "a put, has no key"],
    ["key", encodeMutation(put({ key: "k".repeat(1025) })), "a key or pattern of 1025 bytes, more than 1024"],
    [
      "pattern",
      encodeMutation({ kind: "invalidate", pattern: "k".repeat(1025), stamp: STAMP }),
      "a key or pattern of 1025 bytes, more than 1024",
    ],
    [
      "value",
      encodeMutation(put({ value: { bytes: Buffer.alloc(MAX_VALUE_BYTES + 1), contentType: JSON_CONTENT_TYPE } })),
      "a value of 16777217 bytes, more than 16777216",
    ],
    [
      "content type",
      encodeMutation(put({ value: { bytes: Buffer.from("1"), contentType: "a/b\r\nc: d" } })),
      'the content type "a/b\\r\\nc: d"',
    ],
    ["version", changed(put(), (bytes) => bytes.writeDoubleLE(0.5, 16)), "the version 0.5"],
    ["negative version", changed(put(), (bytes) => bytes.writeDoubleLE(-1, 16)), "the version -1"],
    ["expiry", changed(put(), (bytes) => bytes.writeDoubleLE(Number.NaN, 24)), "the expiry NaN"],
    ["UTF-8", changed(put(), (bytes) => bytes.fill(0xff, 32, 33)), "a text that is not UTF-8"],
  ])("that can't be is refused with its reason: %s", (_, bytes, message) => {
    expect(() => decodeMutation(bytes)).toThrow(message);
    expect(() => decodeMutation(bytes)).toThrow(MutationFormatError);
  });

  test("may have the character that stands for what is no UTF-8", () => {
    expect(decodeMutation(encodeMutation(put({ key: "a\uFFFDb" })))).toMatchObject({ key: "a\uFFFDb" });
  });

  test("that is anything at all is read or refused, and never fails in another way", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.integer({ min: 0, max: 6 }), (made, kind) => {
        const bytes = Buffer.concat([Buffer.from([kind]), made]);
        try {
          decodeMutation(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MutationFormatError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
