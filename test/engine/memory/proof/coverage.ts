import { Eviction } from "../../../../src/engine/memory/eviction.ts";
import { ExpiryWheel } from "../../../../src/engine/memory/expiry-wheel.ts";
import { GhostTable } from "../../../../src/engine/memory/ghost-table.ts";
import { IndexTable } from "../../../../src/engine/memory/index-table.ts";
import { Pruner } from "../../../../src/engine/memory/pruner.ts";
import { Reader } from "../../../../src/engine/memory/reader.ts";
import { Reclaimer } from "../../../../src/engine/memory/reclaimer.ts";
import { RecordLog } from "../../../../src/engine/memory/record-log.ts";
import { RecordWriter } from "../../../../src/engine/memory/record-writer.ts";
import { SegmentPool } from "../../../../src/engine/memory/segment-pool.ts";
import { ShardStore } from "../../../../src/engine/memory/shard-store.ts";
import { Sweeper } from "../../../../src/engine/memory/sweeper.ts";
import { Tombstones } from "../../../../src/engine/memory/tombstones.ts";
import { Writer } from "../../../../src/engine/memory/writer.ts";

const PARTS = [
  Eviction,
  ExpiryWheel,
  GhostTable,
  IndexTable,
  Pruner,
  Reader,
  RecordLog,
  RecordWriter,
  Reclaimer,
  SegmentPool,
  ShardStore,
  Sweeper,
  Tombstones,
  Writer,
];

/** Counts the calls of every method of the memory engine's parts while `action` runs: name -> calls. */
export async function callsDuring(action: () => Promise<void>): Promise<Map<string, number>> {
  const calls = new Map<string, number>();
  const undo: (() => void)[] = [];
  for (const { name, prototype } of PARTS) {
    for (const [method, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (method === "constructor" || typeof value !== "function") continue;
      const label = `${name}.${method}`;
      calls.set(label, 0);
      Reflect.set(prototype, method, function (this: object, ...args: unknown[]): unknown {
        calls.set(label, (calls.get(label) ?? 0) + 1);
        return value.apply(this, args);
      });
      undo.push(() => Reflect.set(prototype, method, value));
    }
  }
  try {
    await action();
  } finally {
    for (const one of undo) one();
  }
  return calls;
}
