import type { Arena } from "./arena.ts";
import { GHOST_CLOCK, RECORDS_COUNTED, SHARD_GHOST_PAGES, SHARD_GHOST_SHIFT, SHARD_SEGMENTS } from "./layout.ts";
import type { SegmentPool } from "./segment-pool.ts";

/** Ghosts per bucket: two cache lines. */
const BUCKET_SLOTS = 16;
/** A slot: 20 bits of hash (never 0) above 12 bits of age. */
const AGE_BITS = 12;
const AGE_MASK = (1 << AGE_BITS) - 1;
const FINGERPRINT_MASK = ~AGE_MASK;
/** Steps in which the age of a ghost is measured over its life, when the table is started … */
const AGE_STEPS = 64;
/**
 * … and the fewest steps while the number of records changes; at most `AGE_MASK`, after which a ghost that was not
 * replaced would look young again.
 */
const MIN_AGE_STEPS = 16;
const MAX_AGE_STEPS = 256;
/**
 * How long a ghost is remembered, in evictions per record of all shards. This is the target length of the main queue,
 * even while that is shorter; otherwise a loop over more keys than fit would never leave anything in the cache.
 */
const LIFE_SHARE = 0.9;
/** Slots per ghost to be remembered, so that a bucket rarely overflows early. */
const SLOTS_PER_GHOST = 1.5;

/**
 * Remembers which keys were recently evicted from the small queue: fingerprints, each kept for about as many evictions
 * as the main queue has records. The count is over all shards, because a shard with a few large entries is no measure.
 *
 * Source: J. Yang et al., "FIFO queues are all you need for cache eviction" (S3-FIFO, SOSP '23), section 4.2: a
 * bucketed table of fingerprints, in which an entry expires once as many were inserted after it as the ghost queue
 * holds, and its slot is then free.
 *
 * Every call needs the shard's lock.
 */
export class GhostTable {
  private readonly control: Int32Array;
  private readonly slotsPerPage: number;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
  ) {
    this.control = arena.control;
    this.slotsPerPage = arena.segmentBytes / 4;
  }

  /** Pages that the table lacks. It works without them, but forgets earlier. */
  pagesWanted(shard: number): number {
    const pages = this.control[shard + SHARD_GHOST_PAGES]!;
    const records = this.control[RECORDS_COUNTED]! / this.arena.geometry.shardCount;
    const wanted = Math.ceil((records * SLOTS_PER_GHOST) / this.slotsPerPage);
    if (wanted <= pages || pages >= this.arena.geometry.maxGhostPages) return 0;
    // Growing discards the contents, so the table grows in large steps.
    const target = Math.max(wanted, Math.ceil(pages * 1.5), 1);
    return Math.min(target, this.arena.geometry.maxGhostPages) - pages;
  }

  /** Adds pages that the caller has reserved, and discards all ghosts. */
  grow(shard: number, pages: number): void {
    const control = this.control;
    const before = control[shard + SHARD_GHOST_PAGES]!;
    const table = this.arena.ghostPageTable(shard);
    for (let page = before; page < before + pages; page++) control[table + page] = this.pool.take();
    control[shard + SHARD_GHOST_PAGES] = before + pages;
    control[shard + SHARD_SEGMENTS]! += pages;
    this.begin(shard);
  }

  /** Returns all pages to the pool. */
  clear(shard: number): void {
    const control = this.control;
    const pages = control[shard + SHARD_GHOST_PAGES]!;
    const table = this.arena.ghostPageTable(shard);
    for (let page = 0; page < pages; page++) this.pool.give(control[table + page]!, control[table + page]!, 1);
    control[shard + SHARD_GHOST_PAGES] = 0;
    control[shard + SHARD_SEGMENTS]! -= pages;
  }

  /** Remembers a key by its hash. */
  add(shard: number, hash: number): void {
    if (this.control[shard + SHARD_GHOST_PAGES] === 0) return;
    const clock = Atomics.add(this.control, GHOST_CLOCK, 1) + 1;
    const steps = this.life() >>> this.control[shard + SHARD_GHOST_SHIFT]!;
    const isCoarse = steps < MIN_AGE_STEPS && this.control[shard + SHARD_GHOST_SHIFT]! > 0;
    if (isCoarse || steps > MAX_AGE_STEPS) this.begin(shard);
    const now = (clock >>> this.control[shard + SHARD_GHOST_SHIFT]!) & AGE_MASK;
    const bucket = this.bucketOf(shard, hash);
    const words = this.arena.wordsAt(bucket);
    const start = this.arena.wordIndex(bucket);
    const wanted = fingerprint(hash);
    let victim = start;
    let oldest = -1;
    for (let at = start; at < start + BUCKET_SLOTS; at++) {
      const slot = words[at]!;
      // Otherwise an older ghost of the same key would be found first.
      if ((slot & FINGERPRINT_MASK) === wanted) {
        victim = at;
        break;
      }
      const age = slot === 0 ? AGE_MASK + 1 : (now - slot) & AGE_MASK;
      if (age > oldest) {
        oldest = age;
        victim = at;
      }
    }
    words[victim] = wanted | now;
  }

  /** Whether a key is remembered. */
  has(shard: number, hash: number): boolean {
    const shift = this.control[shard + SHARD_GHOST_SHIFT]!;
    const now = (this.control[GHOST_CLOCK]! >>> shift) & AGE_MASK;
    const oldest = this.life() >>> shift;
    const at = this.find(shard, hash);
    return at >= 0 && ((now - this.arena.wordsAt(this.bucketOf(shard, hash))[at]!) & AGE_MASK) <= oldest;
  }

  /** Removes a key that is stored again. */
  forget(shard: number, hash: number): void {
    const at = this.find(shard, hash);
    if (at >= 0) this.arena.wordsAt(this.bucketOf(shard, hash))[at] = 0;
  }

  /** The word of a key's slot in its buffer, or -1. */
  private find(shard: number, hash: number): number {
    if (this.control[shard + SHARD_GHOST_PAGES] === 0) return -1;
    const bucket = this.bucketOf(shard, hash);
    const words = this.arena.wordsAt(bucket);
    const start = this.arena.wordIndex(bucket);
    const wanted = fingerprint(hash);
    for (let at = start; at < start + BUCKET_SLOTS; at++) {
      if ((words[at]! & FINGERPRINT_MASK) === wanted) return at;
    }
    return -1;
  }

  /** Discards all ghosts, and chooses the age steps by the number of records. */
  private begin(shard: number): void {
    const table = this.arena.ghostPageTable(shard);
    for (let page = 0; page < this.control[shard + SHARD_GHOST_PAGES]!; page++) {
      const start = this.arena.location(this.control[table + page]!, 0);
      const word = this.arena.wordIndex(start);
      this.arena.wordsAt(start).fill(0, word, word + this.slotsPerPage);
    }
    this.control[shard + SHARD_GHOST_SHIFT] = Math.max(0, Math.ceil(Math.log2(this.life() / AGE_STEPS)));
  }

  /** The life of a ghost, in evictions. */
  private life(): number {
    return this.control[RECORDS_COUNTED]! * LIFE_SHARE;
  }

  /** The location of the bucket of a hash. */
  private bucketOf(shard: number, hash: number): number {
    const buckets = (this.control[shard + SHARD_GHOST_PAGES]! * this.slotsPerPage) / BUCKET_SLOTS;
    const bucket = Math.trunc(((hash >>> 0) * buckets) / 2 ** 32);
    const bucketsPerPage = this.slotsPerPage / BUCKET_SLOTS;
    const page = Math.trunc(bucket / bucketsPerPage);
    const segment = this.control[this.arena.ghostPageTable(shard) + page]!;
    return this.arena.location(segment, (bucket - page * bucketsPerPage) * BUCKET_SLOTS * 4);
  }
}

function fingerprint(hash: number): number {
  // The high bits choose the bucket, so the fingerprint uses the low ones.
  const bits = (hash << AGE_BITS) & FINGERPRINT_MASK;
  return bits === 0 ? 1 << AGE_BITS : bits;
}
