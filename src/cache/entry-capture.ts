import type { EntryInfo, EntrySink } from "../engine/engine.ts";
import { type CacheValue, valueWith } from "../model/entry.ts";
import type { Stamp } from "../model/stamp.ts";

export interface CapturedEntry {
  readonly value: CacheValue;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
}

/** Takes a copy of an entry out of an engine. */
export class EntryCapture implements EntrySink {
  target: Buffer = Buffer.alloc(0);
  readonly offset = 0;
  #value: CacheValue | null = null;
  #expiresAtMs = 0;
  #stamp: Stamp | null = null;

  begin(entry: EntryInfo): boolean {
    this.target = Buffer.allocUnsafeSlow(entry.valueLength);
    this.#value = valueWith(this.target, entry.attributes);
    this.#expiresAtMs = entry.expiresAtMs;
    this.#stamp = { version: entry.stamp.version, nodeId: entry.stamp.nodeId };
    return true;
  }

  /** To be called after the engine has found the entry. */
  entry(): CapturedEntry {
    if (this.#value === null || this.#stamp === null) throw new Error("no entry was captured");
    return { value: this.#value, expiresAtMs: this.#expiresAtMs, stamp: this.#stamp };
  }
}

/** Hands a copy on. */
export function deliver({ value, expiresAtMs, stamp }: CapturedEntry, sink: EntrySink): true {
  const { bytes } = value;
  const entry = { valueLength: bytes.length, attributes: value, expiresAtMs, revision: stamp.version, stamp };
  if (sink.begin(entry)) bytes.copy(sink.target, sink.offset);
  return true;
}
