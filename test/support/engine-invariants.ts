import { Arena, type MemoryHandle } from "../../src/engine/memory/arena.ts";
import { TICK_MS } from "../../src/engine/memory/expiry-wheel.ts";
import {
  CHAIN_HEAD,
  CHAIN_HEAD_OFFSET,
  CHAIN_LIVE_UNITS,
  CHAIN_RECORDS,
  CHAIN_SEGMENTS,
  CHAIN_TAIL,
  EPOCH_HI,
  EPOCH_LO,
  FLAG_BLOB,
  FLAG_DEAD,
  FLAG_EXPIRES,
  FLAG_TOMBSTONE,
  KEY_LENGTH_MASK,
  POOL_FREE_COUNT,
  POOL_FREE_HEAD,
  POOL_FRESH,
  POOL_INDEX_COUNT,
  POOL_INDEX_HEAD,
  POOL_LOCK,
  POOL_RESERVED,
  RECORD_META,
  RECORD_WHEEL_NEXT,
  RECORD_WHEEL_PREV,
  SEGMENT_RESERVED_BYTES,
  SHARD_BLOB_HEAD,
  SHARD_BLOB_TAIL,
  SHARD_DELETED,
  SHARD_GHOST_PAGES,
  SHARD_INDEX_CHAIN,
  SHARD_INDEX_PAGES,
  SHARD_INDEX_SEQUENCE,
  SHARD_LOCK,
  SHARD_MAIN,
  SHARD_SEGMENTS,
  SHARD_SLOTS_USED,
  SHARD_SMALL,
  SHARD_TOMBSTONES,
  SHARD_WHEEL,
  SHARD_WHEEL_COUNT,
  SHARD_WHEEL_TICK,
  SLOT_HASH,
  SLOT_LOCATION,
  UNIT_BYTES,
  WHEEL_BITS,
  WHEEL_BUCKETS,
  WHEEL_HEAD,
  WHEEL_LEVELS,
} from "../../src/engine/memory/layout.ts";
import { blobWord, expiryOf, keyOffset, queueOf, RecordPlan } from "../../src/engine/memory/record.ts";

/**
 * Walks through everything that a memory engine has in its shared buffers, by the layout alone, and throws where it does
 * not hold together. To be called while no other thread uses the memory.
 */
export function checkInvariants(handle: MemoryHandle): void {
  new Inspection(handle).run();
}

class Inspection {
  private readonly arena: Arena;
  private readonly control: Int32Array;
  private readonly plan: RecordPlan;
  /** Who holds a segment: each may have one holder. */
  private readonly holders = new Map<number, string>();

  constructor(handle: MemoryHandle) {
    this.arena = new Arena(handle);
    this.control = this.arena.control;
    this.plan = new RecordPlan(this.arena.segmentBytes - SEGMENT_RESERVED_BYTES);
  }

  run(): void {
    const { shardCount, segmentCount } = this.arena.geometry;
    for (let number = 0; number < shardCount; number++) this.checkShard(number);
    this.same("the pool's lock", this.control[POOL_LOCK], 0);
    this.same("promised segments", this.control[POOL_RESERVED], 0);
    this.checkPoolList("free list", POOL_FREE_HEAD, POOL_FREE_COUNT);
    this.checkPoolList("list of index pages", POOL_INDEX_HEAD, POOL_INDEX_COUNT);
    const fresh = this.word(POOL_FRESH);
    for (let segment = 0; segment < segmentCount; segment++) {
      const holder = this.holders.get(segment);
      if (segment < fresh && holder === undefined) throw new Error(`segment ${segment} is leaked`);
      if (segment >= fresh && holder !== undefined) throw new Error(`${holder} has the fresh segment ${segment}`);
    }
  }

  private checkShard(number: number): void {
    const shard = this.arena.shard(number);
    const name = `shard ${number}`;
    const heldBefore = this.holders.size;
    this.same(`${name}: lock`, this.control[shard + SHARD_LOCK], 0);
    this.same(`${name}: an index change under way`, this.word(shard + SHARD_INDEX_SEQUENCE) & 1, 0);
    const indexed = this.checkIndex(shard, name);
    const live = new Set<number>();
    let blobSegments = 0;
    for (const queue of [SHARD_SMALL, SHARD_MAIN, SHARD_DELETED]) {
      blobSegments += this.checkQueue(shard, queue, `${name}, queue ${queue}`, live);
    }
    for (const location of live) {
      if (!indexed.has(location)) throw new Error(`${name}: the live record ${location} is not in the index`);
    }
    for (const location of indexed) {
      if (!live.has(location)) throw new Error(`${name}: the index refers to ${location}, which is no live record`);
    }
    const blobs = this.chain(this.word(shard + SHARD_BLOB_TAIL), this.word(shard + SHARD_BLOB_HEAD), `${name}: blobs`);
    this.same(`${name}: segments of blobs`, blobs.length, blobSegments);
    this.checkBlobs(live, new Set(blobs), name);
    const ghosts = this.arena.ghostPageTable(shard);
    for (let page = 0; page < this.word(shard + SHARD_GHOST_PAGES); page++) {
      this.hold(this.word(ghosts + page), `${name}: ghosts`);
    }
    this.same(`${name}: segments`, this.control[shard + SHARD_SEGMENTS], this.holders.size - heldBefore);
    this.checkWheel(shard, name, live);
    const tombstones = [...live].filter((location) => (this.meta(location) & FLAG_TOMBSTONE) !== 0).length;
    this.same(`${name}: tombstones`, this.control[shard + SHARD_TOMBSTONES], tombstones);
  }

  /** Gives the locations in the index. */
  private checkIndex(shard: number, name: string): Set<number> {
    const pages = this.word(shard + SHARD_INDEX_PAGES);
    const table = this.arena.indexPageTable(shard);
    const linked: number[] = [];
    let at = this.word(shard + SHARD_INDEX_CHAIN);
    for (; at !== 0; at = this.word(this.arena.next + at - 1)) {
      this.hold(at - 1, `${name}: index`);
      linked.push(at - 1);
    }
    const named = Array.from({ length: pages }, (_, page) => this.word(table + page));
    this.same(`${name}: pages of the index`, linked.sort().join(), named.toSorted().join());
    const locations = new Set<number>();
    const keys = new Set<string>();
    let lastHash = -1;
    for (const page of named) {
      const start = this.arena.location(page, 0);
      const words = this.arena.wordsAt(start);
      const first = this.arena.wordIndex(start);
      for (let word = first; word < first + this.arena.segmentBytes / 4; word += 2) {
        const location = words[word + SLOT_LOCATION] ?? 0;
        if (location === 0) continue;
        const hash = (words[word + SLOT_HASH] ?? 0) >>> 2;
        if (hash < lastHash) throw new Error(`${name}: the index is out of order`);
        lastHash = hash;
        const key = this.keyText(location);
        if (locations.has(location) || keys.has(key)) throw new Error(`${name}: the index has ${key} twice`);
        locations.add(location);
        keys.add(key);
      }
    }
    this.same(`${name}: used slots`, this.control[shard + SHARD_SLOTS_USED], locations.size);
    return locations;
  }

  /** Collects the live records of a queue; gives the segments of their blobs. */
  private checkQueue(shard: number, queue: number, name: string, live: Set<number>): number {
    const { first, used, live: liveUnits } = this.arena;
    const chain = shard + queue;
    const head = this.word(chain + CHAIN_HEAD);
    const segments = this.chain(this.word(chain + CHAIN_TAIL), head, name);
    this.same(`${name}: segments`, this.control[chain + CHAIN_SEGMENTS], segments.length);
    const unitsOf = new Map(segments.map((segment) => [segment, 0]));
    const add = (segment: number, units: number) => unitsOf.set(segment, (unitsOf.get(segment) ?? 0) + units);
    const total = { records: 0, units: 0, blobSegments: 0 };
    for (const [place, segment] of segments.entries()) {
      const end = segment === head - 1 ? this.word(chain + CHAIN_HEAD_OFFSET) : this.word(used + segment);
      for (let offset = this.word(first + segment); offset < end; ) {
        const location = this.arena.location(segment, offset);
        this.plan.readPlan(this.arena, location);
        const here = Math.min(this.plan.recordBytes, this.arena.segmentBytes - offset);
        offset += here;
        if ((this.meta(location) & FLAG_DEAD) !== 0) continue;
        if (queueOf(this.meta(location)) !== queue) throw new Error(`${name}: a record of the other queue`);
        live.add(location);
        total.records++;
        total.units += this.plan.totalUnits();
        total.blobSegments += this.plan.blobSegments;
        add(segment, here / UNIT_BYTES);
        const following = segments[place + 1];
        if (here < this.plan.recordBytes) {
          if (following === undefined) throw new Error(`${name}: a record ends in no segment`);
          add(following, (this.plan.recordBytes - here) / UNIT_BYTES);
        }
      }
    }
    for (const [segment, units] of unitsOf) {
      this.same(`${name}: live units of segment ${segment}`, this.control[liveUnits + segment], units);
      if (units === 0 && segment !== head - 1) throw new Error(`${name}: nothing is alive in segment ${segment}`);
    }
    this.same(`${name}: records`, this.control[chain + CHAIN_RECORDS], total.records);
    this.same(`${name}: live units`, this.control[chain + CHAIN_LIVE_UNITS], total.units);
    return total.blobSegments;
  }

  private checkBlobs(live: ReadonlySet<number>, blobs: Set<number>, name: string): void {
    for (const location of live) {
      const meta = this.meta(location);
      if ((meta & FLAG_BLOB) === 0) continue;
      this.plan.readPlan(this.arena, location);
      let segment = this.recordWord(location, blobWord(meta));
      for (let part = 0; part < this.plan.blobSegments; part++) {
        if (!blobs.delete(segment))
          throw new Error(`${name}: ${this.keyText(location)} has a segment that is not its own`);
        segment = this.word(this.arena.next + segment) - 1;
      }
    }
    this.same(`${name}: segments of blobs of no record`, blobs.size, 0);
  }

  /** Each record that expires is in one bucket, whose turn comes before its tick is over. */
  private checkWheel(shard: number, name: string, live: ReadonlySet<number>): void {
    const filed = new Set<number>();
    for (let bucket = 0; bucket < WHEEL_LEVELS * WHEEL_BUCKETS; bucket++) {
      let before = WHEEL_HEAD | bucket;
      let at = this.word(shard + SHARD_WHEEL + bucket);
      for (; at !== 0; at = this.recordWord(at, RECORD_WHEEL_NEXT)) {
        if (filed.has(at)) throw new Error(`${name}: ${at} is in the wheel twice`);
        filed.add(at);
        this.same(`${name}: what comes before ${at} in its bucket`, this.recordWord(at, RECORD_WHEEL_PREV), before);
        if (!live.has(at)) throw new Error(`${name}: the wheel has ${at}, which is no live record`);
        this.checkBucket(shard, name, bucket, at);
        before = at;
      }
    }
    const expiring = [...live].filter((location) => this.expiresAtMs(location) !== 0).length;
    this.same(`${name}: records in the wheel`, filed.size, expiring);
    this.same(`${name}: the wheel's count`, this.control[shard + SHARD_WHEEL_COUNT], expiring);
  }

  private checkBucket(shard: number, name: string, bucket: number, location: number): void {
    const epochMs = this.word(EPOCH_HI) * 2 ** 32 + (this.word(EPOCH_LO) >>> 0);
    const now = this.word(shard + SHARD_WHEEL_TICK);
    const due = Math.max(now, Math.floor((this.expiresAtMs(location) - epochMs) / TICK_MS));
    const level = Math.floor(bucket / WHEEL_BUCKETS);
    const shift = level * WHEEL_BITS;
    const place = bucket % WHEEL_BUCKETS;
    // When the wheel comes to the bucket for the next time.
    let turn = ((now >>> (shift + WHEEL_BITS)) << WHEEL_BITS) | place;
    if (turn * 2 ** shift < now - (now % 2 ** shift)) turn += WHEEL_BUCKETS;
    if (turn * 2 ** shift > due && due > now) {
      throw new Error(`${name}: ${this.keyText(location)} is due at tick ${due}, its bucket at ${turn * 2 ** shift}`);
    }
  }

  /** The segments from the tail to the head, by their links, which must agree in both directions. */
  private chain(tail: number, head: number, name: string): number[] {
    const segments: number[] = [];
    let before = 0;
    for (let at = tail; at !== 0; at = this.word(this.arena.next + at - 1)) {
      this.hold(at - 1, name);
      this.same(`${name}: what comes before segment ${at - 1}`, this.control[this.arena.prev + at - 1], before);
      segments.push(at - 1);
      before = at;
    }
    this.same(`${name}: last segment`, before, head);
    return segments;
  }

  private checkPoolList(name: string, headWord: number, countWord: number): void {
    let count = 0;
    for (let at = this.word(headWord); at !== 0; at = this.word(this.arena.next + at - 1)) {
      this.hold(at - 1, name);
      count++;
    }
    this.same(name, count, this.control[countWord]);
  }

  private hold(segment: number, holder: string): void {
    const other = this.holders.get(segment);
    if (other !== undefined) throw new Error(`segment ${segment} belongs to ${holder} and to ${other}`);
    this.holders.set(segment, holder);
  }

  private same(what: string, found: number | string | undefined, expected: number | string | undefined): void {
    if (found !== expected) throw new Error(`${what}: ${found}, expected ${expected}`);
  }

  private word(at: number): number {
    return this.control[at] ?? 0;
  }

  private recordWord(location: number, word: number): number {
    return this.arena.wordsAt(location)[this.arena.wordIndex(location) + word] ?? 0;
  }

  private meta(location: number): number {
    return this.recordWord(location, RECORD_META);
  }

  private expiresAtMs(location: number): number {
    if ((this.meta(location) & FLAG_EXPIRES) === 0) return 0;
    return expiryOf(this.arena.wordsAt(location), this.arena.wordIndex(location));
  }

  private keyText(location: number): string {
    const meta = this.meta(location);
    const start = (this.arena.wordIndex(location) << 2) + keyOffset(meta);
    return this.arena.bytesAt(location).toString("utf8", start, start + (meta & KEY_LENGTH_MASK));
  }
}
