import type { Key } from "../../model/key.ts";
import type { Stamp } from "../../model/stamp.ts";
import type { EntrySink, ValuePart, ValueParts } from "../engine.ts";
import type { Arena } from "./arena.ts";
import { FLAG_BLOB, SEGMENT_RESERVED_BYTES } from "./layout.ts";
import type { RecordInfo } from "./record-info.ts";

const NO_BYTES = Buffer.alloc(0);
const NO_PART: ValuePart = { offset: 0, length: 0, target: NO_BYTES, start: 0 };
/** An answer that has begun continues after its entry has expired. */
const EXPIRED_TOO = 0;

/** Looks up an entry that was live at `nowMs` (0 = even if it has expired), and validates the work of its sink. */
interface EntryReader {
  read(key: Key, sink: EntrySink, nowMs: number): boolean;
}

/**
 * Copies parts of values that were found before. Each part is a separate read: the record is looked up again, because
 * it may have been moved; it is the same record while it has the same stamp. The copy is made in `begin`, after the
 * reader has validated the path to the record; the reader then validates the copy as it does any other.
 */
export class PartReader implements EntrySink, ValueParts {
  readonly target = NO_BYTES;
  readonly offset = 0;
  /** Whether the last copy was of the requested entry. */
  isSame = false;
  private version = 0;
  private nodeId = 0;
  private part = NO_PART;

  constructor(
    private readonly reader: EntryReader,
    private readonly arena: Arena,
    /** The reader's knowledge of the record that it found. */
    private readonly info: RecordInfo,
  ) {}

  copyPart(key: Key, stamp: Stamp, part: ValuePart): boolean {
    this.expect(stamp, part);
    const isFound = this.reader.read(key, this, EXPIRED_TOO);
    this.part = NO_PART;
    return isFound && this.isSame;
  }

  /** Sets what the next read copies. */
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

  /**
   * A long value starts in whole segments of its own, goes on behind its record's header, and then in the next segment.
   */
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

  /** Copies the part that overlaps `value[from .. from + length)`, which begins at a byte of a segment. */
  private copyExtent(from: number, length: number, segment: number, inSegment: number): void {
    const { arena, part } = this;
    const first = Math.max(from, part.offset);
    const last = Math.min(from + length, part.offset + part.length);
    // The chain ends early if it was freed meanwhile; the reader detects that.
    if (first >= last || segment < 0) return;
    const location = arena.location(segment, 0);
    const at = (arena.wordIndex(location) << 2) + inSegment - from;
    arena.bytesAt(location).copy(part.target, part.start + first - part.offset, at + first, at + last);
  }
}
