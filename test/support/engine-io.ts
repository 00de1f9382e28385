import type { EntryInfo, EntrySink } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import type { Key } from "../../src/model/key.ts";
import type { Stamp, Version } from "../../src/model/stamp.ts";

/** A key made of text. */
export function keyOf(text: string): Key {
  const bytes = Buffer.from(text, "utf8");
  return { bytes, length: bytes.length };
}

export function stampOf(version: number, nodeId = 0): Stamp {
  return { version: version as Version, nodeId };
}

/** Keeps what a get found. */
export class RecordingSink implements EntrySink {
  target: Buffer = Buffer.alloc(0);
  readonly offset = 0;
  contentType = "";
  expiresAtMs = 0;
  revision = 0;
  nodeId = 0;

  begin(entry: EntryInfo): boolean {
    this.target = Buffer.alloc(entry.valueLength);
    this.contentType = entry.attributes.contentType;
    this.expiresAtMs = entry.expiresAtMs;
    this.revision = entry.revision;
    this.nodeId = entry.stamp.nodeId;
    return true;
  }
}

/** A clock that tests set by hand, in ms since the Unix epoch. */
export class ManualClock {
  nowMs = Date.UTC(2026, 0, 1);
  readonly read = (): number => this.nowMs;
}

/** A small engine of one thread, on a clock that stands still until the test moves it. */
export function smallEngine(limitBytes: number, clock = new ManualClock()): MemoryEngine {
  return MemoryEngine.create({
    limitBytes,
    threads: 1,
    clock: clock.read,
    randomWord: () => 0x5eed,
    letOthersRun: () => Promise.resolve(),
  });
}

/** Prunes until nothing that is due is left. */
export function pruneAll(engine: MemoryEngine): void {
  while (engine.maintain() === 0);
}
