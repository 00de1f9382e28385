import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import { hasValue, type PutMutation } from "../../src/model/mutation.ts";
import { before, toVersion } from "../../src/model/stamp.ts";
import { decodeMessage, encodeMessage, PROTOCOL } from "../../src/replication/wire/message.ts";
import { WireError } from "../../src/replication/wire/wire-error.ts";
import { anyMutation, anyStamp } from "../support/any-mutation.ts";
import { callOfOriginal, headOfPost } from "../support/original-calls.ts";

/** What is said to be JSON is JSON, and keys are such as a client can name. */
const tellable = anyMutation.filter(
  (mutation) =>
    (mutation.kind === "invalidate" || !/\p{Cc}/u.test(mutation.key)) &&
    (!hasValue(mutation) || mutation.value.contentType !== JSON_CONTENT_TYPE),
);

describe("a message between nodes", () => {
  test("comes out as it went in, packed or not", () => {
    fc.assert(
      fc.property(fc.array(tellable, { maxLength: 50 }), (told) => {
        const { kind, head, mutations: heard } = decodeMessage(encodeMessage("batch", { number: 7 }, told));
        expect(kind).toBe("batch");
        expect(head.number("number")).toBe(7);
        expect(heard).toEqual(told.map((mutation) => ({ ...mutation, traceContext: undefined })));
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

  test("of a node of another form is refused in one line", () => {
    const message = encodeMessage("batch", { number: 7 }, [put("a", 1)]);
    message[1] = PROTOCOL - 1;
    const told = `the message has protocol version ${PROTOCOL - 1}, this node speaks ${PROTOCOL}: run the same version on both`;
    expect(() => decodeMessage(message)).toThrow(told);
  });

  test("unpacks to a bounded size, whatever it claims", () => {
    const bomb = Bun.zstdCompressSync(Buffer.alloc(64 * 1024 * 1024));
    const message = Buffer.concat([Buffer.from([0x53, PROTOCOL, 1, 1]), bomb]);
    expect(message.length).toBeLessThan(100_000);
    expect(() => decodeMessage(message)).toThrow(WireError);
  });

  test("costs at most a third of the original's calls for puts of 100 bytes", () => {
    const now = versionAt(1_800_000_000_000);
    const puts: PutMutation[] = Array.from({ length: 200 }, (_, at) => {
      const user = { id: at * 7919, name: `user ${(at * 2_654_435_761) % 99_991}`, mail: `u${at * 31}@example.com` };
      const text = JSON.stringify({ ...user, since: 1_700_000_000 + at * 977, pad: "" });
      const bytes = Buffer.from(text.replace('"pad":""', `"pad":"${"x".repeat(Math.max(0, 100 - text.length))}"`));
      const stamp = { version: toVersion(now + at * 3000), nodeId: 77 };
      return { ...put(`user:${at * 7919}`, 0, bytes), expiresAtMs: 1_800_000_060_000 + at, stamp };
    });
    for (const together of [1, 20, 200]) {
      const some = puts.slice(0, together);
      const head = { id: 77, incarnation: 3_000_000_000, clock: 1_800_000_000_000, to: 2_000_000_000, number: 1000 };
      const message = encodeMessage("batch", { ...head, watermark: now, newest: now }, some);
      const ours = message.length + headOfPost("/api/replication", message.length).length;
      const theirs = some.reduce((sum, each) => sum + callOfOriginal(each.key, each.value.bytes).length, 0);
      if (together >= 20) expect(ours / theirs).toBeLessThan(1 / 3);
    }
  });
});

describe("the stamp before a stamp", () => {
  test("is older, and nothing is between them", () => {
    fc.assert(
      fc.property(anyStamp, ({ version, nodeId }) => {
        const { version: earlier, nodeId: other } = before({ version, nodeId });
        if (nodeId > 0) expect([earlier, other]).toEqual([version, nodeId - 1]);
        else if (version > 0) expect([earlier, other]).toEqual([toVersion(version - 1), 0xffff_ffff]);
      }),
    );
  });
});

function put(key: string, version: number, bytes = Buffer.from(JSON.stringify(key))): PutMutation {
  const stamp = { version: toVersion(version), nodeId: 1 };
  return { kind: "put", key, value: { bytes, contentType: JSON_CONTENT_TYPE }, expiresAtMs: NEVER, stamp };
}

test("a message is decompressed to its bound and no further", () => {
  const value = { bytes: Buffer.alloc(1024 * 1024), contentType: "text/plain" };
  const packed = encodeMessage("answer", {}, [{ ...put("a", 1), value }]);
  expect(packed.length).toBeLessThan(64 * 1024);
  expect(() => decodeMessage(packed, 64 * 1024)).toThrow("can't be decompressed");
  expect(decodeMessage(packed).mutations.length).toBe(1);
});
