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

/** The finest step of the wheels, in ms: memory is free at most this long, plus one round of pruning, after expiry. */
export const TICK_MS = 128;
const MAX_TICK = 2 ** 31 - 1;
const BUCKET_MASK = WHEEL_BUCKETS - 1;

/**
 * A hierarchical timer wheel per shard, of the records that expire: four levels of 64 buckets, whose ticks last
 * 128 ms, 8 s, 9 min and 9 h. A record is filed by the highest digit (base 64) in which its tick differs from now, so
 * each is refiled at most three times in its life, and no live record is looked at in between. The bucket is a doubly
 * linked list through the records' headers, so what dies early leaves at once.
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

  /** The tick in which a time lies. */
  tickOf(timeMs: number): number {
    return Math.max(0, Math.min(MAX_TICK, Math.floor((timeMs - this.epochMs) / TICK_MS)));
  }

  /** How far the wheel is behind the clock, in ms: what was due so long ago may still be filed. */
  lagMs(shard: number, nowMs: number): number {
    return (this.tickOf(nowMs) - this.control[shard + SHARD_WHEEL_TICK]!) * TICK_MS;
  }

  /** Files a record by the expiry in its header. */
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

  /** Takes a record out. */
  remove(shard: number, location: number): void {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    this.link(shard, words[word + RECORD_WHEEL_PREV]!, words[word + RECORD_WHEEL_NEXT]!);
    this.control[shard + SHARD_WHEEL_COUNT]!--;
  }

  /** A record was copied, links and all: points its neighbours to the copy. */
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
   * Goes on towards `nowMs` and gives the next record of which the tick has passed (it is still filed; the caller
   * removes it), 0 when there is none, or -1 after `steps` records were refiled: call again.
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

  /** The next tick with something to do: where the clock was set, there may be a billion without. */
  private nextTick(shard: number, tick: number): number {
    let level = 0;
    while (level < WHEEL_LEVELS - 1 && this.isEmpty(shard, level)) level++;
    const ticks = 1 << (level * WHEEL_BITS);
    let next = (tick | (ticks - 1)) + 1;
    // Where nothing is filed below the last level, something is in it.
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

  /** Forgets every record. */
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
    // Further than the last level reaches: as far ahead as it can be filed; it is filed again from there.
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

/** Where the bucket of the last level to which a tick belongs has its head. */
function lastBucket(shard: number, tick: number): number {
  const level = WHEEL_LEVELS - 1;
  return shard + SHARD_WHEEL + level * WHEEL_BUCKETS + ((tick >>> (level * WHEEL_BITS)) & BUCKET_MASK);
}
