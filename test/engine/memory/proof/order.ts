import { Arena } from "../../../../src/engine/memory/arena.ts";
import { SHARD_INDEX_SEQUENCE, SHARD_RECYCLE_SEQUENCE } from "../../../../src/engine/memory/layout.ts";
import { MemoryEngine } from "../../../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../../../src/model/entry.ts";
import { keyOf, smallEngine, stampOf } from "../../../support/engine-io.ts";
import { TracedMemory } from "../../../support/traced-memory.ts";

/** The order of a reader's loads and fences, a letter each, where a key has so many bytes, or nothing if that's less than 0. */
export function readOrder(valueBytes: number, wants: "value" | "no value"): string {
  const engine = smallEngine(100_000);
  const key = keyOf("key");
  const source = Buffer.alloc(Math.max(0, valueBytes), 1);
  const range = { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES, expiresAtMs: NEVER };
  if (valueBytes >= 0) engine.put({ key, ...range, stamp: stampOf(1), condition: null });
  else engine.put({ key: keyOf("another"), ...range, stamp: stampOf(1), condition: null });
  const trace = new TracedMemory(engine.handle);
  const reader = MemoryEngine.attach(engine.handle, 0, { clock: Date.now, views: trace.views });
  const arena = new Arena(engine.handle);
  const sequence = (arena.shard(0) + SHARD_INDEX_SEQUENCE) * 4;
  const recycled = (arena.shard(0) + SHARD_RECYCLE_SEQUENCE) * 4;
  let order = "";
  trace.hooks = {
    load: (buffer, at) => {
      order += buffer === 0 && at === sequence ? "S" : buffer === 0 && at === recycled ? "R" : "-";
    },
    fence: () => {
      order += "F";
    },
  };
  const sink = { target: Buffer.alloc(4096), offset: 0, begin: () => wants === "value" };
  trace.run(() => reader.peek(key, sink));
  return order;
}
