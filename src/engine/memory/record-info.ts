import type { Attributes } from "../../model/entry.ts";
import type { Stamp, Version } from "../../model/stamp.ts";
import type { EntryInfo, ValueParts } from "../engine.ts";
import type { Arena } from "./arena.ts";
import { BUFFER_UNIT_MASK, FLAG_BLOB, RECORD_META, RECORD_VALUE_BYTES } from "./layout.ts";
import { blobWord, contentTypeOf, expiryOf, nodeIdOf, prefixBytes, versionOf } from "./record.ts";

/** The record that was found; one object for all reads of a thread. */
export class RecordInfo implements EntryInfo, Attributes, Stamp {
  location = 0;
  meta = 0;
  valueLength = 0;
  expiresAtMs = 0;
  revision = 0;
  nodeId = 0;
  /** Offset from the start of the record, in bytes. */
  valueOffset = 0;
  blobSegment = 0;
  slotWords: Int32Array = new Int32Array(0);
  slotWord = 0;
  slotHash = 0;
  parts: ValueParts | undefined = undefined;
  private bytes: Buffer = Buffer.alloc(0);

  read(arena: Arena, location: number, slotWords: Int32Array, slotWord: number, slotHash: number): void {
    const words = arena.wordsAt(location);
    const word = arena.wordIndex(location);
    this.bytes = arena.bytesAt(location);
    this.location = location;
    this.meta = words[word + RECORD_META]!;
    this.valueLength = words[word + RECORD_VALUE_BYTES]!;
    this.expiresAtMs = expiryOf(words, word);
    this.revision = versionOf(words, word);
    this.nodeId = nodeIdOf(words, word);
    this.valueOffset = prefixBytes(this.meta, this.bytes, word << 2);
    if ((this.meta & FLAG_BLOB) !== 0) this.blobSegment = words[word + blobWord(this.meta)]!;
    this.slotWords = slotWords;
    this.slotWord = slotWord;
    this.slotHash = slotHash;
  }

  get version(): Version {
    return this.revision as Version;
  }

  get stamp(): Stamp {
    return this;
  }

  get attributes(): Attributes {
    return this;
  }

  get contentType(): string {
    return contentTypeOf(this.meta, this.bytes, (this.location & BUFFER_UNIT_MASK) << 3);
  }
}
