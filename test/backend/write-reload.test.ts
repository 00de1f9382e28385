/** An entry becomes what the database gives for its key as soon as it was written there. */

import { describe, expect, test } from "bun:test";
import type { NewValue } from "../../src/cache/changes.ts";
import { committed } from "../../src/cache/commit-log.ts";
import type { BackendConfig } from "../../src/config/config.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { keyOf, RecordingSink } from "../support/engine-io.ts";
import { LateEngine } from "../support/late-engine.ts";
import { settled } from "../support/manual-scheduler.ts";
import { putIn } from "../support/put-in.ts";
import { NODE_ID, openTestHub, type TestHub, WRITE_DELAY_MS } from "../support/test-hub.ts";

const TTL_MS = 300_000;

function json(text: string): NewValue {
  const source = Buffer.from(text);
  return { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
}

async function put(node: TestHub, key: string, text: string, ttlMs = TTL_MS) {
  return putIn(node.cache, keyOf(key), json(text), ttlMs, null);
}

function open(writeMode: BackendConfig["writeMode"], isLate: boolean, config: Partial<BackendConfig> = {}): TestHub {
  const fills = isLate
    ? { fills: (engine: ConstructorParameters<typeof LateEngine>[0]) => new LateEngine(engine) }
    : {};
  const node = openTestHub({ config: { writeMode, reloadsWrites: true, ...config }, ...fills });
  node.backend.made = (value) => `[${value}]`;
  return node;
}

function expiryOf(node: TestHub, key: string): number {
  const sink = new RecordingSink();
  return node.engine.get(keyOf(key), sink) === true ? sink.expiresAtMs : Number.NaN;
}

/** Until nothing more happens, without the clock. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await settled();
}

async function written(node: TestHub): Promise<void> {
  await quiet();
  await node.scheduler.advance(2 * WRITE_DELAY_MS);
  await quiet();
}

for (const isLate of [false, true]) {
  describe(`in mode behind, before an engine that answers ${isLate ? "later" : "at once"}`, () => {
    test("is what was sent until it is written, and what the database gives after that, for the same time", async () => {
      await using node = open("behind", isLate);
      await put(node, "a", "1");
      const untilMs = expiryOf(node, "a");
      expect(node.stored("a")).toBe("1");
      await written(node);
      expect([node.stored("a"), expiryOf(node, "a")]).toEqual(["[1]", untilMs]);
      expect(node.backend.loads).toEqual([["a"]]);
    });

    test("is gone where the database does not give the key, or does not answer", async () => {
      await using node = open("behind", isLate);
      node.backend.made = () => null;
      await put(node, "a", "1");
      await written(node);
      expect(node.stored("a")).toBeNull();
      node.backend.made = (value) => value;
      await put(node, "b", "1");
      const letGo = node.backend.hold();
      await written(node);
      node.backend.isAway = false;
      letGo();
      await quiet();
      expect(node.stored("b")).toBe("1");
      const hang = node.backend.load.bind(node.backend);
      node.backend.load = () => new Promise(() => {});
      await put(node, "b", "2");
      await written(node);
      await node.scheduler.advance(1_000);
      await quiet();
      expect(node.stored("b")).toBeNull();
      node.backend.load = hang;
    });

    test("keeps a touch that came meanwhile", async () => {
      await using node = open("behind", isLate);
      await put(node, "a", "1");
      const letGo = node.backend.hold();
      await written(node);
      await node.cache.touch(keyOf("a"), 2 * TTL_MS, null);
      const untilMs = expiryOf(node, "a");
      letGo();
      await quiet();
      expect([node.stored("a"), expiryOf(node, "a")]).toEqual(["[1]", untilMs]);
    });

    test("leaves a newer value, and is loaded again when that is written", async () => {
      await using node = open("behind", isLate);
      await put(node, "a", "1");
      await written(node);
      const loads = node.backend.load.bind(node.backend);
      const { promise: isLet, resolve: letGo } = Promise.withResolvers<void>();
      node.backend.load = async (keys, options) => {
        const results = await loads(keys, options);
        await isLet;
        return results;
      };
      await put(node, "a", "2");
      await written(node);
      expect(node.stored("a")).toBe("2");
      await put(node, "a", "3");
      letGo();
      await quiet();
      expect(node.stored("a")).toBe("3");
      await written(node);
      expect(node.stored("a")).toBe("[3]");
    });

    test("does not bring back what was deleted or cleared from the cache and the database", async () => {
      await using node = open("behind", isLate, { deletes: true });
      for (const remove of [() => node.cache.delete(keyOf("a"), null), () => node.cache.clear()]) {
        await put(node, "a", "1");
        const letGo = node.backend.hold();
        await written(node);
        await remove();
        letGo();
        await quiet();
        expect(node.stored("a")).toBeNull();
        await written(node);
        expect([node.stored("a"), node.backend.values.has("a")]).toEqual([null, false]);
      }
    });

    test("makes no entry of one that is over", async () => {
      await using node = open("behind", isLate);
      await put(node, "a", "1", WRITE_DELAY_MS / 2);
      await written(node);
      expect([node.backend.values.get("a"), node.stored("a")]).toEqual(["[1]", null]);
    });

    test("is not what a thread sends that is late", async () => {
      await using node = open("behind", isLate);
      const stamp = { version: node.versions.next(), nodeId: NODE_ID };
      const value = { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE };
      const common = { kind: "put", key: "a", value, expiresAtMs: NEVER, isReplicated: false } as const;
      await committed(node.hub, { ...common, stamp });
      await written(node);
      const request = { key: keyOf("a"), source: value.bytes, start: 0, end: 1, attributes: JSON_ATTRIBUTES };
      await node.engine.put({ ...request, expiresAtMs: NEVER, stamp, condition: null });
      expect(node.stored("a")).toBe("[1]");
    });

    test("is undone by a mutation that is older than the load, and is kept after it", async () => {
      await using node = open("behind", isLate);
      await put(node, "a", "1");
      const stamp = { version: node.versions.next(), nodeId: NODE_ID };
      await written(node);
      expect(node.stored("a")).toBe("[1]");
      const value = { bytes: Buffer.from("2"), contentType: JSON_CONTENT_TYPE };
      const common = { kind: "put", key: "a", value, expiresAtMs: NEVER, isReplicated: false } as const;
      await committed(node.hub, { ...common, stamp });
      expect(node.stored("a")).toBeNull();
      await written(node);
      expect(node.stored("a")).toBe("[2]");
    });
  });

  describe(`in mode through, before an engine that answers ${isLate ? "later" : "at once"}`, () => {
    test("is what the database gives when the write is answered, and not before", async () => {
      await using node = open("through", isLate);
      await put(node, "a", "1");
      expect(node.stored("a")).toBe("[1]");
      await put(node, "a", "2");
      expect(node.stored("a")).toBe("[2]");
      expect(await node.cache.increment(keyOf("n"), 4, null)).toEqual({ kind: "incremented", value: 4 });
      expect(node.stored("n")).toBe("[4]");
      await putIn(node.cache, keyOf("a"), json("3"), TTL_MS, { kind: "present" });
      expect(node.stored("a")).toBe("[3]");
    });

    test("is loaded by the next read where the load after the write fails: the write is done all the same", async () => {
      await using node = open("through", isLate);
      const loads = node.backend.load.bind(node.backend);
      node.backend.load = () => Promise.reject(new Error("away"));
      await put(node, "a", "1");
      expect([node.backend.values.get("a"), node.stored("a")]).toEqual(["[1]", null]);
      node.backend.load = loads;
      const loaded = await node.hub.load("a");
      expect(loaded.kind === "found" && loaded.value.bytes.toString()).toBe("[1]");
    });

    test("is the newest one's where writes of a key overlap", async () => {
      await using node = open("through", isLate);
      await Promise.all(["1", "2", "3"].map((text) => put(node, "a", text)));
      await written(node);
      expect([node.stored("a"), node.backend.values.get("a")]).toEqual(["[3]", "[3]"]);
    });
  });
}

test("costs no load where it is off", async () => {
  await using node = openTestHub();
  await put(node, "a", "1");
  await written(node);
  expect([node.backend.loads, node.stored("a")]).toEqual([[], "1"]);
});
