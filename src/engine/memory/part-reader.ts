import type { Key } from "../../model/key.ts";
import type { Stamp } from "../../model/stamp.ts";
import type { EntrySink, ValuePart, ValueParts } from "../engine.ts";
import type { Arena } from "./arena.ts";
import { FLAG_BLOB, SEGMENT_RESERVED_BYTES } from "./layout.ts";
import type { RecordInfo } from "./record-info.ts";

const NO_BYTES = Buffer.alloc(0);
const NO_PART: ValuePart = { offset: 0, length: 0, target: NO_BYTES, start: 0 };
/** An answer that has begun goes on when its entry expires. */
const EXPIRED_TOO = 0;

/** Looks up an entry that was live at `nowMs`, 0 = whether or not it has expired, and validates what its sink does. */
interface EntryReader {
  read(key: Key, sink: EntrySink, nowMs: number): boolean;
}

/**
 * Copies parts of values that were found before. Each part is a read of its own: the record is looked up again, for it may
 * have been moved, and is the same one while it has the same stamp. The copy is made in `begin`, after the reader has
 * validated what leads to the record; the reader then validates the copy as it does any other.
 */
export class PartReader implements EntrySink, ValueParts {
  readonly target = NO_BYTES;
  readonly offset = 0;
  /** The last copy was of the entry that was asked for. */
  isSame = false;
  private version = 0;
  private nodeId = 0;
  private part = NO_PART;

  constructor(
    private readonly reader: EntryReader,
    private readonly arena: Arena,
    /** What the reader knows of the record that it found. */
    private readonly info: RecordInfo,
  ) {}

  copyPart(key: Key, stamp: Stamp, part: ValuePart): boolean {
    this.expect(stamp, part);
    const isFound = this.reader.read(key, this, EXPIRED_TOO);
    this.part = NO_PART;
    return isFound && this.isSame;
  }

  /** What the next read is to copy. */
  expect(stamp: Stamp, part: ValuePart): void {
    this.version = stamp.version;
    this.nodeId = stamp.nodeId;
    this.part = part;
  }

  begin(): boolean {
    const { info } = this;
    this.isSame = info.revision === this.version && info.nodeId === this.nodeId;
    if (this.isSame) this.copy();
    return false;
  }

  /** A value lies in whole segments first, if it is long, then behind its record's header, then in the next segment. */
  private copy(): void {
    const { arena, info, part } = this;
    const { control, next, segmentBytes } = arena;
    const end = part.offset + part.length;
    const chunk = segmentBytes - SEGMENT_RESERVED_BYTES;
    let at = 0;
    if ((info.meta & FLAG_BLOB) !== 0) {
      let segment = info.blobSegment;
      for (; segment >= 0 && at < end && info.valueLength - at >= chunk; at += chunk) {
        this.copyExtent(at, chunk, segment, SEGMENT_RESERVED_BYTES);
        segment = control[next + segment]! - 1;
      }
    }
    if (at >= end) return;
    const segment = arena.segmentOf(info.location);
    const inSegment = arena.offsetOf(info.location) + info.valueOffset;
    const here = Math.min(info.valueLength - at, segmentBytes - inSegment);
    this.copyExtent(at, here, segment, inSegment);
    if (at + here < end) {
      this.copyExtent(at + here, info.valueLength - at - here, control[next + segment]! - 1, SEGMENT_RESERVED_BYTES);
    }
  }

  /** Copies what the part has of `value[from .. from + length)`, which begins at a byte of a segment. */
  private copyExtent(from: number, length: number, segment: number, inSegment: number): void {
    const { arena, part } = this;
    const first = Math.max(from, part.offset);
    const last = Math.min(from + length, part.offset + part.length);
    // A chain that ends early was given back since: the reader finds that out.
    if (first >= last || segment < 0) return;
    const location = arena.location(segment, 0);
    const at = (arena.wordIndex(location) << 2) + inSegment - from;
    arena.bytesAt(location).copy(part.target, part.start + first - part.offset, at + first, at + last);
  }
}
