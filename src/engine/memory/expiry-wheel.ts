import type { Arena } from "./arena.ts";
import {
  RECORD_EXPIRY_HI,
  RECORD_EXPIRY_LO,
  RECORD_WHEEL_NEXT,
  RECORD_WHEEL_PREV,
  SHARD_WHEEL,
  SHARD_WHEEL_COUNT,
  SHARD_WHEEL_TICK,
  WHEEL_BITS,
  WHEEL_BUCKETS,
  WHEEL_HEAD,
  WHEEL_LEVELS,
} from "./layout.ts";

/** The finest tick of the wheels, in ms: memory is freed at most this long after expiry, plus one round of pruning. */
export const TICK_MS = 128;
const MAX_TICK = 2 ** 31 - 1;
const BUCKET_MASK = WHEEL_BUCKETS - 1;

/**
 * A hierarchical timer wheel per shard for the records with a TTL: four levels of 64 buckets, with ticks of 128 ms, 8
 * s, 9 min and 9 h. A record is filed under the highest digit (base 64) in which its tick differs from the current one,
 * so it is refiled at most three times in its life, and live records are not visited in between. A bucket is a doubly
 * linked list through the record headers, so a record that is deleted early leaves at once.
 *
 * Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP '87), scheme 7.
 *
 * Every call needs the shard's lock.
 */
export class ExpiryWheel {
  private readonly control: Int32Array;

  constructor(
    private readonly arena: Arena,
    private readonly epochMs: number,
  ) {
    this.control = arena.control;
  }

  /** The tick of a time. */
  tickOf(timeMs: number): number {
    return Math.max(0, Math.min(MAX_TICK, Math.floor((timeMs - this.epochMs) / TICK_MS)));
  }

  /** How far the wheel is behind the clock, in ms: records that expired within this time may still be filed. */
  lagMs(shard: number, nowMs: number): number {
    return (this.tickOf(nowMs) - this.control[shard + SHARD_WHEEL_TICK]!) * TICK_MS;
  }

  /** Files a record under the expiry in its header. */
  add(shard: number, location: number): void {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const expiresAtMs = (words[word + RECORD_EXPIRY_HI]! >>> 0) * 2 ** 32 + (words[word + RECORD_EXPIRY_LO]! >>> 0);
    const bucket = this.bucketFor(this.control[shard + SHARD_WHEEL_TICK]!, this.tickOf(expiresAtMs));
    const head = this.control[shard + SHARD_WHEEL + bucket]!;
    words[word + RECORD_WHEEL_NEXT] = head;
    words[word + RECORD_WHEEL_PREV] = WHEEL_HEAD | bucket;
    if (head !== 0) this.arena.wordsAt(head)[this.arena.wordIndex(head) + RECORD_WHEEL_PREV] = location;
    this.control[shard + SHARD_WHEEL + bucket] = location;
    this.control[shard + SHARD_WHEEL_COUNT]!++;
  }

  /** Removes a record. */
  remove(shard: number, location: number): void {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    this.link(shard, words[word + RECORD_WHEEL_PREV]!, words[word + RECORD_WHEEL_NEXT]!);
    this.control[shard + SHARD_WHEEL_COUNT]!--;
  }

  /** A record was copied with its links: points its neighbours to the copy. */
  moved(shard: number, to: number): void {
    const words = this.arena.wordsAt(to);
    const word = this.arena.wordIndex(to);
    const prev = words[word + RECORD_WHEEL_PREV]!;
    const next = words[word + RECORD_WHEEL_NEXT]!;
    if (prev >>> 0 >= WHEEL_HEAD >>> 0) this.control[shard + SHARD_WHEEL + (prev & 0xfff)] = to;
    else this.arena.wordsAt(prev)[this.arena.wordIndex(prev) + RECORD_WHEEL_NEXT] = to;
    if (next !== 0) this.arena.wordsAt(next)[this.arena.wordIndex(next) + RECORD_WHEEL_PREV] = to;
  }

  /**
   * Advances towards `nowMs` and returns the next record whose tick has passed (it is still filed; the caller removes
   * it), 0 when there is none, or -1 after `steps` records were refiled: call again.
   */
  nextDue(shard: number, nowMs: number, steps: number): number {
    const control = this.control;
    const now = this.tickOf(nowMs);
    if (control[shard + SHARD_WHEEL_COUNT] === 0) {
      if (now > control[shard + SHARD_WHEEL_TICK]!) control[shard + SHARD_WHEEL_TICK] = now;
      return 0;
    }
    let stepsLeft = steps;
    for (let tick = control[shard + SHARD_WHEEL_TICK]!; tick < now; ) {
      for (let level = WHEEL_LEVELS - 1; level > 0; level--) {
        const levelShift = level * WHEEL_BITS;
        if ((tick & ((1 << levelShift) - 1)) !== 0) continue;
        const bucket = level * WHEEL_BUCKETS + ((tick >>> levelShift) & BUCKET_MASK);
        for (
          let head = control[shard + SHARD_WHEEL + bucket]!;
          head !== 0;
          head = control[shard + SHARD_WHEEL + bucket]!
        ) {
          if (stepsLeft-- === 0) return -1;
          this.remove(shard, head);
          this.add(shard, head);
        }
      }
      const due = control[shard + SHARD_WHEEL + (tick & BUCKET_MASK)]!;
      if (due !== 0) return due;
      tick = Math.min(now, this.nextTick(shard, tick));
      control[shard + SHARD_WHEEL_TICK] = tick;
    }
    return 0;
  }

  /** The next tick with work to do; after a clock change there may be a billion empty ticks before it. */
  private nextTick(shard: number, tick: number): number {
    let level = 0;
    while (level < WHEEL_LEVELS - 1 && this.isEmpty(shard, level)) level++;
    const ticks = 1 << (level * WHEEL_BITS);
    let next = (tick | (ticks - 1)) + 1;
    // If nothing is filed on the lower levels, the last level is not empty.
    if (level === WHEEL_LEVELS - 1) while (this.control[lastBucket(shard, next)] === 0) next += ticks;
    return next;
  }

  private isEmpty(shard: number, level: number): boolean {
    const first = shard + SHARD_WHEEL + level * WHEEL_BUCKETS;
    for (let bucket = first; bucket < first + WHEEL_BUCKETS; bucket++) {
      if (this.control[bucket] !== 0) return false;
    }
    return true;
  }

  /** Removes every record. */
  clear(shard: number): void {
    this.control.fill(0, shard + SHARD_WHEEL, shard + SHARD_WHEEL + WHEEL_LEVELS * WHEEL_BUCKETS);
    this.control[shard + SHARD_WHEEL_COUNT] = 0;
  }

  private bucketFor(now: number, tick: number): number {
    const due = Math.max(now, tick);
    for (let level = 0; level < WHEEL_LEVELS - 1; level++) {
      const shift = (level + 1) * WHEEL_BITS;
      if (due >>> shift === now >>> shift)
        return level * WHEEL_BUCKETS + ((due >>> (shift - WHEEL_BITS)) & BUCKET_MASK);
    }
    // Beyond the last level: filed as far ahead as possible, and refiled from there.
    const top = (WHEEL_LEVELS - 1) * WHEEL_BITS;
    const ahead = Math.min((due >>> top) - (now >>> top), BUCKET_MASK);
    return (WHEEL_LEVELS - 1) * WHEEL_BUCKETS + (((now >>> top) + ahead) & BUCKET_MASK);
  }

  private link(shard: number, prev: number, next: number): void {
    if (prev >>> 0 >= WHEEL_HEAD >>> 0) this.control[shard + SHARD_WHEEL + (prev & 0xfff)] = next;
    else this.arena.wordsAt(prev)[this.arena.wordIndex(prev) + RECORD_WHEEL_NEXT] = next;
    if (next !== 0) this.arena.wordsAt(next)[this.arena.wordIndex(next) + RECORD_WHEEL_PREV] = prev;
  }
}

/** Head of the last level's bucket for a tick. */
function lastBucket(shard: number, tick: number): number {
  const level = WHEEL_LEVELS - 1;
  return shard + SHARD_WHEEL + level * WHEEL_BUCKETS + ((tick >>> (level * WHEEL_BITS)) & BUCKET_MASK);
}
