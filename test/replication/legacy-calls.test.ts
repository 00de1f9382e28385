import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { type OutboxEntry, rowOf } from "../../src/outbox/entry.ts";
import { LegacyCalls } from "../../src/replication/legacy-calls.ts";
import { type Caller, PeerCallError } from "../../src/replication/peer-caller.ts";

const NOW_MS = 1_800_000_000_000;
const DESTINATION = "peer:http://b:1";

let nextId = 1;

function stampOf(version: number) {
  return { version: toVersion(version), nodeId: 1 };
}

function put(key: string, version: number): OutboxEntry {
  const value = { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE };
  return entry({ kind: "put", key, value, expiresAtMs: NEVER, stamp: stampOf(version) });
}

function invalidation(pattern: string | null, version: number): OutboxEntry {
  return entry({ kind: "invalidate", pattern, stamp: stampOf(version) });
}

function entry(mutation: Mutation): OutboxEntry {
  return { ...rowOf(DESTINATION, mutation), id: nextId++, attempts: 0, queuedAtMs: NOW_MS };
}

/** A peer that answers each call a little later, the first ones last, and refuses some. */
function peer(statusOf: (call: string) => number = () => 200) {
  const heard: string[] = [];
  let underWay = 0;
  const caller: Pick<Caller, "plain"> = {
    async plain({ method, path, body }) {
      const name = `${method} ${decodeURIComponent(path).replace(/[?&]replicated=true/, "")} ${body ?? ""}`.trim();
      underWay += 1;
      for (let turn = 20 - underWay; turn > 0; turn--) await Promise.resolve();
      underWay -= 1;
      const status = statusOf(name);
      if (status !== 200) throw new PeerCallError(`it answered ${status}`, status);
      heard.push(name);
    },
  };
  const never = () => Promise.reject(new Error("only plain calls are made"));
  const whole: Caller = { ...caller, ask: never, exchange: never, encode: () => Buffer.alloc(0) };
  const calls = new LegacyCalls(whole, () => NOW_MS);
  const send = (...batch: OutboxEntry[]) => calls.send(batch, new AbortController().signal);
  return { heard, send };
}

const POST = (key: string) => `POST /api/cache {"key":"${key}","value":1}`;

describe("plain calls", () => {
  test("keep the order of puts and a delete by pattern, whatever the order in which they waited", async () => {
    const { heard, send } = peer();
    await send(put("user:1", 30), invalidation("user:*", 20), put("user:2", 10), put("user:3", 40), put("user:4", 15));
    expect(heard.slice(0, 2).toSorted()).toEqual([POST("user:2"), POST("user:4")]);
    expect(heard[2]).toBe("DELETE /api/cache?pattern=user:*");
    expect(heard.slice(3).toSorted()).toEqual([POST("user:1"), POST("user:3")]);
  });

  test("do not bring back what a delete by pattern has removed: a put that is older goes as a delete", async () => {
    const { heard, send } = peer();
    await send(invalidation("user:*", 20));
    await send(put("user:1", 10), put("user:2", 30), put("other", 10));
    expect(heard.slice(1).toSorted()).toEqual(["DELETE /api/cache/user:1", POST("other"), POST("user:2")]);
    await send(invalidation(null, 40));
    await send(put("other", 35));
    expect(heard.slice(4)).toEqual(["DELETE /api/cache?pattern=*", "DELETE /api/cache/other"]);
  });

  test("that are refused for good hold up nothing, and leave no old value behind", async () => {
    const { heard, send } = peer((call) => (/POST.*big|\[a\]|DELETE.*odd/.test(call) ? 400 : 200));
    const odd = entry({ kind: "delete", key: "odd", stamp: stampOf(3) });
    const outcome = await send(put("big", 1), invalidation("[a]", 2), odd, put("k", 4));
    expect(heard).toEqual(["DELETE /api/cache/big", "DELETE /api/cache?pattern=*", POST("k")]);
    expect(outcome.done.map(({ key }) => key).toSorted()).toEqual(["\0[a]", "big", "k"]);
    expect(outcome.refused).toEqual([{ entry: odd, reason: "it answered 400" }]);
    expect([outcome.left, outcome.error]).toEqual([[], null]);
  });

  test("that fail stop the batch: what is left waits", async () => {
    const { heard, send } = peer((call) => (call.includes("pattern") ? 403 : 200));
    const outcome = await send(put("a", 1), invalidation("b*", 2), put("c", 3));
    expect(heard).toEqual([POST("a")]);
    expect(outcome.left.map(({ key }) => key)).toEqual(["\0b*", "c"]);
    expect(outcome.error).toBeInstanceOf(PeerCallError);
  });
});
