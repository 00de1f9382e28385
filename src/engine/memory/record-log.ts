import type { Arena } from "./arena.ts";
import { bump } from "./fence.ts";
import {
  AGE_CLOCK,
  CHAIN_BORN,
  CHAIN_HEAD,
  CHAIN_HEAD_OFFSET,
  CHAIN_LIVE_UNITS,
  CHAIN_RECORDS,
  CHAIN_SEGMENTS,
  CHAIN_TAIL,
  CHAIN_TAIL_OFFSET,
  FLAG_BLOB,
  FLAG_DEAD,
  FLAG_MAIN,
  type Queue,
  RECORD_META,
  SEGMENT_RESERVED_BYTES,
  SHARD_BLOB_HEAD,
  SHARD_BLOB_TAIL,
  SHARD_DELETED,
  SHARD_MAIN,
  SHARD_RECYCLE_SEQUENCE,
  SHARD_SEGMENTS,
  SHARD_SMALL,
  UNIT_BYTES,
} from "./layout.ts";
import { blobWord, queueOf, RecordPlan } from "./record.ts";
import type { SegmentPool } from "./segment-pool.ts";

/**
 * The records of a shard: queues, each a chain of segments to which records are appended at the head and from which
 * they leave at the tail. Only the header of a record is ever changed in place; a record that is replaced, deleted,
 * expired or evicted is marked dead, and a segment without live records returns to the pool at once.
 *
 * A value that does not fit into its segment continues in the next segment of the chain; the two stay neighbours,
 * because both contain live bytes. The first part of a value that is longer than a segment fills whole segments (a
 * blob), which are never copied again.
 *
 * Every call needs the shard's lock.
 */
export class RecordLog {
  private readonly control: Int32Array;
  private readonly moved: RecordPlan;
  private readonly killed: RecordPlan;
  /** Bytes of value that a segment of a blob holds. */
  readonly blobSegmentBytes: number;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
  ) {
    this.control = arena.control;
    this.blobSegmentBytes = arena.segmentBytes - SEGMENT_RESERVED_BYTES;
    this.moved = new RecordPlan(this.blobSegmentBytes);
    this.killed = new RecordPlan(this.blobSegmentBytes);
  }

  /** Whether a record with this plan fits into a chain of segments at all. */
  fits(plan: RecordPlan): boolean {
    return plan.prefixBytes <= this.blobSegmentBytes;
  }

  /** Segments that must be reserved before `append`. */
  segmentsNeeded(shard: number, queue: Queue, plan: RecordPlan): number {
    const chain = shard + queue;
    if (this.control[chain + CHAIN_HEAD] === 0)
      return (this.spills(SEGMENT_RESERVED_BYTES, plan) ? 2 : 1) + plan.blobSegments;
    const offset = this.control[chain + CHAIN_HEAD_OFFSET]!;
    const room = this.arena.segmentBytes - offset;
    if (plan.recordBytes <= room) return plan.blobSegments;
    if (plan.prefixBytes <= room) return 1 + plan.blobSegments;
    return (this.spills(SEGMENT_RESERVED_BYTES, plan) ? 2 : 1) + plan.blobSegments;
  }

  /**
   * Reserves the bytes of a record at the head of a queue, and accounts for them; returns its location. The caller
   * writes header, key and value (`valueSpan` says where the value goes).
   */
  append(shard: number, queue: Queue, plan: RecordPlan): number {
    const control = this.control;
    const chain = shard + queue;
    if (
      control[chain + CHAIN_HEAD] === 0 ||
      this.arena.segmentBytes - control[chain + CHAIN_HEAD_OFFSET]! < plan.prefixBytes
    ) {
      this.openSegment(shard, chain, SEGMENT_RESERVED_BYTES);
    }
    const segment = control[chain + CHAIN_HEAD]! - 1;
    const offset = control[chain + CHAIN_HEAD_OFFSET]!;
    const here = Math.min(plan.recordBytes, this.arena.segmentBytes - offset);
    const spilled = plan.recordBytes - here;
    control[this.arena.live + segment]! += here / UNIT_BYTES;
    control[chain + CHAIN_HEAD_OFFSET] = offset + here;
    control[chain + CHAIN_RECORDS]!++;
    control[chain + CHAIN_LIVE_UNITS]! += plan.totalUnits();
    if (spilled > 0) {
      this.openSegment(shard, chain, SEGMENT_RESERVED_BYTES + spilled);
      control[this.arena.live + control[chain + CHAIN_HEAD]! - 1]! += spilled / UNIT_BYTES;
    }
    return this.arena.location(segment, offset);
  }

  /** Takes the segments of a blob and returns the first. They are linked in the order of the value's bytes. */
  appendBlob(shard: number, count: number): number {
    const control = this.control;
    let first = -1;
    for (let taken = 0; taken < count; taken++) {
      const segment = this.pool.take();
      if (first < 0) first = segment;
      const last = control[shard + SHARD_BLOB_HEAD]!;
      control[this.arena.prev + segment] = last;
      control[this.arena.next + segment] = 0;
      if (last === 0) control[shard + SHARD_BLOB_TAIL] = segment + 1;
      else control[this.arena.next + last - 1] = segment + 1;
      control[shard + SHARD_BLOB_HEAD] = segment + 1;
    }
    control[shard + SHARD_SEGMENTS]! += count;
    control[this.arena.born + first] = this.tick();
    return first;
  }

  /** Copies `source[start .. end)` into the value of the record at `location`, whose blob starts at `blobSegment`. */
  writeValue(
    location: number,
    plan: RecordPlan,
    blobSegment: number,
    source: Buffer,
    start: number,
    end: number,
  ): void {
    let from = start;
    let segment = blobSegment;
    for (let done = 0; done < plan.blobSegments; done++) {
      const at = this.arena.location(segment, SEGMENT_RESERVED_BYTES);
      source.copy(this.arena.bytesAt(at), this.arena.wordIndex(at) << 2, from, from + this.blobSegmentBytes);
      from += this.blobSegmentBytes;
      segment = this.control[this.arena.next + segment]! - 1;
    }
    this.writeInline(location, plan, source, from, end);
  }

  /** Copies `source[from .. end)` into the part of a value that lies in the record itself. */
  writeInline(location: number, plan: RecordPlan, source: Buffer, from: number, end: number): void {
    if (from === end) return;
    const startByte = (this.arena.wordIndex(location) << 2) + plan.prefixBytes;
    const room = this.arena.segmentBytes - this.arena.offsetOf(location) - plan.prefixBytes;
    const here = Math.min(end - from, room);
    source.copy(this.arena.bytesAt(location), startByte, from, from + here);
    if (from + here < end) {
      const at = this.arena.location(
        this.control[this.arena.next + this.arena.segmentOf(location)]! - 1,
        SEGMENT_RESERVED_BYTES,
      );
      source.copy(this.arena.bytesAt(at), this.arena.wordIndex(at) << 2, from + here, end);
    }
  }

  /** A copy of the part of a value that lies in the record itself. */
  inlineValue(location: number): Buffer {
    const plan = this.moved;
    plan.readPlan(this.arena, location);
    const value = Buffer.allocUnsafe(plan.inlineBytes);
    const start = (this.arena.wordIndex(location) << 2) + plan.prefixBytes;
    const room = this.arena.segmentBytes - this.arena.offsetOf(location) - plan.prefixBytes;
    const here = Math.min(plan.inlineBytes, room);
    this.arena.bytesAt(location).copy(value, 0, start, start + here);
    if (here < plan.inlineBytes) {
      const next = this.control[this.arena.next + this.arena.segmentOf(location)]! - 1;
      const at = this.arena.location(next, SEGMENT_RESERVED_BYTES);
      const rest = this.arena.wordIndex(at) << 2;
      this.arena.bytesAt(at).copy(value, here, rest, rest + plan.inlineBytes - here);
    }
    return value;
  }

  /** A copy of a whole value. */
  value(location: number): Buffer {
    const inline = this.inlineValue(location);
    const { blobSegments } = this.moved;
    if (blobSegments === 0) return inline;
    const value = Buffer.allocUnsafe(blobSegments * this.blobSegmentBytes + inline.length);
    let segment = this.blobOf(location);
    for (let done = 0; done < blobSegments; done++) {
      const at = this.arena.location(segment, SEGMENT_RESERVED_BYTES);
      const start = this.arena.wordIndex(at) << 2;
      this.arena.bytesAt(at).copy(value, done * this.blobSegmentBytes, start, start + this.blobSegmentBytes);
      segment = this.control[this.arena.next + segment]! - 1;
    }
    inline.copy(value, value.length - inline.length);
    return value;
  }

  /** The first segment of the record's blob, or -1. */
  blobOf(location: number): number {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const meta = words[word + RECORD_META]!;
    return (meta & FLAG_BLOB) === 0 ? -1 : words[word + blobWord(meta)]!;
  }

  /**
   * Appends a copy of a live record to the head of a queue and returns its location. The copy takes over the blob. The
   * original stays alive until `drop`, which is called after the index has stopped referring to it.
   */
  copy(shard: number, location: number, queue: Queue): number {
    const plan = this.moved;
    plan.readPlan(this.arena, location);
    const target = this.append(shard, queue, plan);
    this.copyRecord(location, target, plan.recordBytes);
    const words = this.arena.wordsAt(target);
    const word = this.arena.wordIndex(target);
    if (queue === SHARD_MAIN) words[word + RECORD_META]! |= FLAG_MAIN;
    else words[word + RECORD_META]! &= ~FLAG_MAIN;
    return target;
  }

  /** Segments that must be reserved before `copy`. */
  segmentsNeededToCopy(shard: number, location: number, queue: Queue): number {
    this.moved.readPlan(this.arena, location);
    this.moved.blobSegments = 0;
    return this.segmentsNeeded(shard, queue, this.moved);
  }

  /** Frees the bytes and the blob of a record to which the index no longer refers. */
  kill(shard: number, location: number): void {
    const plan = this.killed;
    plan.readPlan(this.arena, location);
    if (plan.blobSegments > 0) this.freeBlob(shard, location, plan.blobSegments);
    this.markDead(shard, location, plan);
  }

  /** Frees the bytes of a record whose copy has taken over the blob. */
  drop(shard: number, location: number): void {
    this.killed.readPlan(this.arena, location);
    this.markDead(shard, location, this.killed);
  }

  /** Frees all segments of the records at once. */
  clear(shard: number): void {
    bump(this.control, shard + SHARD_RECYCLE_SEQUENCE);
    this.clearChain(shard, shard + SHARD_SMALL);
    this.clearChain(shard, shard + SHARD_MAIN);
    this.clearChain(shard, shard + SHARD_DELETED);
    const first = this.control[shard + SHARD_BLOB_TAIL]!;
    if (first === 0) return;
    let count = 1;
    for (let segment = first; this.control[this.arena.next + segment - 1] !== 0; count++) {
      segment = this.control[this.arena.next + segment - 1]!;
    }
    this.pool.give(first - 1, this.control[shard + SHARD_BLOB_HEAD]! - 1, count);
    this.control[shard + SHARD_SEGMENTS]! -= count;
    this.control[shard + SHARD_BLOB_TAIL] = 0;
    this.control[shard + SHARD_BLOB_HEAD] = 0;
  }

  /** The next record to leave a queue, dead or alive; 0 = none. */
  tail(shard: number, queue: Queue): number {
    const chain = shard + queue;
    const segment = this.control[chain + CHAIN_TAIL]!;
    if (segment === 0) return 0;
    const offset = this.control[chain + CHAIN_TAIL_OFFSET]!;
    if (segment === this.control[chain + CHAIN_HEAD]) {
      if (offset === this.control[chain + CHAIN_HEAD_OFFSET]) return 0;
    } else if (offset === this.control[this.arena.used + segment - 1]) {
      throw new Error("a segment of which every record has left is still in its queue");
    }
    return this.arena.location(segment - 1, offset);
  }

  /**
   * The value of `AGE_CLOCK` when the record that `tail` returned joined the queue; valid while that record is there.
   */
  born(location: number): number {
    const blob = this.blobOf(location);
    return this.control[this.arena.born + (blob < 0 ? this.arena.segmentOf(location) : blob)]!;
  }

  isDead(location: number): boolean {
    return (this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]! & FLAG_DEAD) !== 0;
  }

  /**
   * Gives a record with a blob a new age, before it joins a queue again. Other records get the age of the segment to
   * which they are copied.
   */
  renew(location: number): void {
    const blob = this.blobOf(location);
    if (blob >= 0) this.control[this.arena.born + blob] = this.tick();
  }

  /** Steps over the record that `tail` returned. To be called before the record is dropped or killed. */
  passTail(shard: number, queue: Queue): void {
    const chain = shard + queue;
    const segment = this.control[chain + CHAIN_TAIL]! - 1;
    const location = this.arena.location(segment, this.control[chain + CHAIN_TAIL_OFFSET]!);
    this.control[chain + CHAIN_TAIL_OFFSET] = this.endInSegment(location);
  }

  /** Byte of its first segment at which the record, or the segment, ends. */
  endInSegment(location: number): number {
    this.moved.readPlan(this.arena, location);
    return Math.min(this.arena.segmentBytes, this.arena.offsetOf(location) + this.moved.recordBytes);
  }

  /** Frees the last segment of a queue if it is the only one left and contains nothing alive. */
  dropEmptyHead(shard: number, queue: Queue): void {
    const chain = shard + queue;
    const head = this.control[chain + CHAIN_HEAD]!;
    if (head === 0 || head !== this.control[chain + CHAIN_TAIL] || this.control[this.arena.live + head - 1] !== 0)
      return;
    this.control[chain + CHAIN_HEAD] = 0;
    this.control[chain + CHAIN_HEAD_OFFSET] = 0;
    this.freeSegment(shard, chain, head - 1);
  }

  /** Whether a new record that starts at `offset` ends beyond its first segment. */
  private spills(offset: number, plan: RecordPlan): boolean {
    return offset + plan.recordBytes > this.arena.segmentBytes;
  }

  /** Adds a segment at the head of a chain; its first record starts at `firstOffset`. */
  private openSegment(shard: number, chain: number, firstOffset: number): void {
    const control = this.control;
    const { next, prev, live, first, used, born } = this.arena;
    const segment = this.pool.take();
    const head = control[chain + CHAIN_HEAD]!;
    control[next + segment] = 0;
    control[prev + segment] = head;
    control[live + segment] = 0;
    control[first + segment] = firstOffset;
    control[shard + SHARD_SEGMENTS]!++;
    control[chain + CHAIN_SEGMENTS]!++;
    control[chain + CHAIN_HEAD] = segment + 1;
    control[used + segment] = 0;
    control[born + segment] = this.tick();
    if (head === 0) {
      control[chain + CHAIN_BORN] = control[born + segment]!;
      control[chain + CHAIN_TAIL] = segment + 1;
      control[chain + CHAIN_TAIL_OFFSET] = firstOffset;
    } else {
      control[next + head - 1] = segment + 1;
      control[used + head - 1] = control[chain + CHAIN_HEAD_OFFSET]!;
    }
    control[chain + CHAIN_HEAD_OFFSET] = firstOffset;
    if (head !== 0 && control[live + head - 1] === 0) this.freeSegment(shard, chain, head - 1);
  }

  private tick(): number {
    return Atomics.add(this.control, AGE_CLOCK, 1);
  }

  private copyRecord(from: number, to: number, length: number): void {
    const { arena } = this;
    let done = 0;
    while (done < length) {
      const source = done === 0 ? from : this.continued(from, done);
      const target = done === 0 ? to : this.continued(to, done);
      const sourceRoom = arena.segmentBytes - arena.offsetOf(source);
      const targetRoom = arena.segmentBytes - arena.offsetOf(target);
      const bytes = Math.min(length - done, sourceRoom, targetRoom);
      const start = arena.wordIndex(source) << 2;
      arena.bytesAt(source).copy(arena.bytesAt(target), arena.wordIndex(target) << 2, start, start + bytes);
      done += bytes;
    }
  }

  /** The location of the byte `done` (a multiple of 8) of a record. */
  private continued(location: number, done: number): number {
    const room = this.arena.segmentBytes - this.arena.offsetOf(location);
    if (done < room) return location + done / UNIT_BYTES;
    const segment = this.control[this.arena.next + this.arena.segmentOf(location)]! - 1;
    return this.arena.location(segment, SEGMENT_RESERVED_BYTES + done - room);
  }

  private markDead(shard: number, location: number, plan: RecordPlan): void {
    const control = this.control;
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const chain = shard + queueOf(words[word + RECORD_META]!);
    words[word + RECORD_META]! |= FLAG_DEAD;
    control[chain + CHAIN_RECORDS]!--;
    control[chain + CHAIN_LIVE_UNITS]! -= plan.totalUnits();
    const segment = this.arena.segmentOf(location);
    const following = control[this.arena.next + segment]! - 1;
    const here = Math.min(plan.recordBytes, this.arena.segmentBytes - this.arena.offsetOf(location));
    this.releaseUnits(shard, chain, segment, here / UNIT_BYTES);
    if (plan.recordBytes > here) this.releaseUnits(shard, chain, following, (plan.recordBytes - here) / UNIT_BYTES);
  }

  private releaseUnits(shard: number, chain: number, segment: number, units: number): void {
    this.control[this.arena.live + segment]! -= units;
    const live = this.control[this.arena.live + segment]!;
    if (live === 0 && this.control[chain + CHAIN_HEAD] !== segment + 1) this.freeSegment(shard, chain, segment);
  }

  private freeSegment(shard: number, chain: number, segment: number): void {
    const control = this.control;
    const { next, prev, first } = this.arena;
    const before = control[prev + segment]!;
    const after = control[next + segment]!;
    // Before a link changes, because a reader may be about to follow it from a record that has just died.
    bump(control, shard + SHARD_RECYCLE_SEQUENCE);
    if (before !== 0) control[next + before - 1] = after;
    if (after !== 0) control[prev + after - 1] = before;
    if (control[chain + CHAIN_TAIL] === segment + 1) {
      control[chain + CHAIN_TAIL] = after;
      control[chain + CHAIN_TAIL_OFFSET] = after === 0 ? 0 : control[first + after - 1]!;
    }
    control[chain + CHAIN_SEGMENTS]!--;
    control[shard + SHARD_SEGMENTS]!--;
    this.pool.give(segment, segment, 1);
  }

  private freeBlob(shard: number, location: number, count: number): void {
    const control = this.control;
    const { next, prev } = this.arena;
    const first = this.blobOf(location);
    if (first < 0) throw new Error("freeBlob of a record without a blob");
    let last = first;
    for (let hop = 1; hop < count; hop++) last = control[next + last]! - 1;
    const before = control[prev + first]!;
    const after = control[next + last]!;
    bump(control, shard + SHARD_RECYCLE_SEQUENCE);
    if (before === 0) control[shard + SHARD_BLOB_TAIL] = after;
    else control[next + before - 1] = after;
    if (after === 0) control[shard + SHARD_BLOB_HEAD] = before;
    else control[prev + after - 1] = before;
    control[shard + SHARD_SEGMENTS]! -= count;
    this.pool.give(first, last, count);
  }

  private clearChain(shard: number, chain: number): void {
    const control = this.control;
    const count = control[chain + CHAIN_SEGMENTS]!;
    if (count > 0) {
      this.pool.give(control[chain + CHAIN_TAIL]! - 1, control[chain + CHAIN_HEAD]! - 1, count);
      control[shard + SHARD_SEGMENTS]! -= count;
    }
    for (let word = CHAIN_TAIL; word <= CHAIN_BORN; word++) control[chain + word] = 0;
  }
}
