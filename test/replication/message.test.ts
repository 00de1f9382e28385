import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import { before, toVersion } from "../../src/model/stamp.ts";
import { decodeMessage, encodeMessage } from "../../src/replication/wire/message.ts";
import type { PeerMutation, PeerPut } from "../../src/replication/wire/peer-mutation.ts";
import { WireError } from "../../src/replication/wire/wire-error.ts";
import { callOfOriginal, headOfPost } from "../support/original-calls.ts";

const stamps = fc.record({
  version: fc.nat(Number.MAX_SAFE_INTEGER).map(toVersion),
  nodeId: fc.nat(0xffff_ffff),
});
const keys = fc.string({ unit: "grapheme", minLength: 1, maxLength: 200 }).filter((key) => !/\p{Cc}/u.test(key));
/** What is said to be JSON is JSON. */
const values = fc.oneof(
  fc.record({
    value: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
    contentType: fc.constantFrom("text/plain", "image/png"),
  }),
  fc.json().map((text) => ({ value: Buffer.from(text), contentType: JSON_CONTENT_TYPE })),
);
const mutations: fc.Arbitrary<PeerMutation> = fc.oneof(
  fc
    .record({
      kind: fc.constant("put" as const),
      key: keys,
      expiresAtMs: fc.oneof(fc.constant(NEVER), fc.integer({ min: 1, max: 2 ** 45 })),
      stamp: stamps,
      touch: fc.option(stamps),
    })
    .chain((put) => values.map((value) => ({ ...put, ...value }))),
  fc.record({ kind: fc.constantFrom("delete" as const, "outdated" as const), key: keys, stamp: stamps }),
  fc.record({ kind: fc.constant("invalidate" as const), pattern: fc.oneof(keys, fc.constant(null)), stamp: stamps }),
);

describe("a message between nodes", () => {
  test("comes out as it went in, packed or not", () => {
    fc.assert(
      fc.property(fc.array(mutations, { maxLength: 50 }), (told) => {
        const { kind, head, mutations: heard } = decodeMessage(encodeMessage("batch", { number: 7 }, told));
        expect(kind).toBe("batch");
        expect(head.number("number")).toBe(7);
        expect(heard).toEqual(told);
      }),
    );
  });

  test("that is cut, changed or made up is refused, and never taken for another", () => {
    const message = encodeMessage("batch", { number: 7 }, [put("a", 1), put("b", 2)]);
    for (let length = 0; length < message.length; length++) {
      expect(() => decodeMessage(message.subarray(0, length))).toThrow(WireError);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(3), fc.boolean(), (bytes, at, isOurs) => {
        const made = Buffer.from(bytes);
        if (isOurs) message.copy(made, 0, 0, at + 1);
        try {
          decodeMessage(made);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
    );
  });

  test("unpacks to a bounded size, whatever it claims", () => {
    const bomb = Bun.zstdCompressSync(Buffer.alloc(64 * 1024 * 1024));
    const message = Buffer.concat([Buffer.from([0x53, 1, 1, 1]), bomb]);
    expect(message.length).toBeLessThan(100_000);
    expect(() => decodeMessage(message)).toThrow(WireError);
  });

  test("costs at most a third of the original's calls for puts of 100 bytes", () => {
    const now = versionAt(1_800_000_000_000);
    const puts: PeerPut[] = Array.from({ length: 200 }, (_, at) => {
      const user = { id: at * 7919, name: `user ${(at * 2_654_435_761) % 99_991}`, mail: `u${at * 31}@example.com` };
      const text = JSON.stringify({ ...user, since: 1_700_000_000 + at * 977, pad: "" });
      const value = Buffer.from(text.replace('"pad":""', `"pad":"${"x".repeat(Math.max(0, 100 - text.length))}"`));
      const stamp = { version: toVersion(now + at * 3000), nodeId: 77 };
      return { ...put(`user:${at * 7919}`, 0), value, expiresAtMs: 1_800_000_060_000 + at, stamp };
    });
    for (const together of [1, 20, 200]) {
      const some = puts.slice(0, together);
      const head = { id: 77, incarnation: 3_000_000_000, clock: 1_800_000_000_000, to: 2_000_000_000, number: 1000 };
      const message = encodeMessage("batch", { ...head, watermark: now, newest: now }, some);
      const ours = message.length + headOfPost("/api/replication", message.length).length;
      const theirs = some.reduce((sum, each) => sum + callOfOriginal(each.key, each.value).length, 0);
      if (together >= 20) expect(ours / theirs).toBeLessThan(1 / 3);
    }
  });
});

describe("the stamp before a stamp", () => {
  test("is older, and nothing is between them", () => {
    fc.assert(
      fc.property(stamps, ({ version, nodeId }) => {
        const { version: earlier, nodeId: other } = before({ version, nodeId });
        if (nodeId > 0) expect([earlier, other]).toEqual([version, nodeId - 1]);
        else if (version > 0) expect([earlier, other]).toEqual([toVersion(version - 1), 0xffff_ffff]);
      }),
    );
  });
});

function put(key: string, version: number): PeerPut {
  const stamp = { version: toVersion(version), nodeId: 1 };
  const value = Buffer.from(JSON.stringify(key));
  return { kind: "put", key, value, contentType: JSON_CONTENT_TYPE, expiresAtMs: NEVER, stamp, touch: null };
}

test("a message is decompressed to its bound and no further", () => {
  const value = Buffer.alloc(1024 * 1024);
  const stamp = { version: toVersion(1), nodeId: 1 };
  const packed = encodeMessage("answer", {}, [
    { kind: "put", key: "a", value, contentType: "text/plain", expiresAtMs: 0, stamp, touch: null },
  ]);
  expect(packed.length).toBeLessThan(64 * 1024);
  expect(() => decodeMessage(packed, 64 * 1024)).toThrow("can't be decompressed");
  expect(decodeMessage(packed).mutations.length).toBe(1);
});
