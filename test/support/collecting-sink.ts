import type { EntryInfo, EntrySink } from "../../src/engine/engine.ts";
import type { Key } from "../../src/model/key.ts";

/** A sink that keeps what it got, at an offset that shows whether an engine respects it. */
export class CollectingSink implements EntrySink {
  target = Buffer.alloc(0);
  readonly offset = 3;
  info: EntryInfo | null = null;

  begin(entry: EntryInfo): boolean {
    this.info = copyInfo(entry);
    this.target = Buffer.alloc(this.offset + entry.valueLength);
    return true;
  }

  get bytes(): Buffer {
    return this.target.subarray(this.offset);
  }
}

/** A sink that wants no value, as HEAD does. */
export class HeadSink implements EntrySink {
  readonly target = Buffer.alloc(0);
  readonly offset = 0;
  info: EntryInfo | null = null;

  begin(entry: EntryInfo): boolean {
    this.info = copyInfo(entry);
    return false;
  }
}

/** A key in a buffer that is longer than it, as connections hold them. */
export function keyOf(text: string): Key {
  const length = Buffer.byteLength(text);
  const bytes = Buffer.alloc(length + 5, "#");
  bytes.write(text);
  return { bytes, length };
}

/** The engine reuses its object, whose fields may be getters. */
function copyInfo({ valueLength, attributes, expiresAtMs, revision, stamp }: EntryInfo): EntryInfo {
  const { contentType } = attributes;
  const copy = { version: stamp.version, nodeId: stamp.nodeId };
  return { valueLength, attributes: { contentType }, expiresAtMs, revision, stamp: copy };
}
