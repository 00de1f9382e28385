import type { Arena } from "./arena.ts";
import { bump } from "./fence.ts";
import {
  BUFFER_UNIT_MASK,
  BUFFER_UNIT_SHIFT,
  SHARD_INDEX_CHAIN,
  SHARD_INDEX_PAGES,
  SHARD_INDEX_SEQUENCE,
  SHARD_SEGMENTS,
  SHARD_SLOTS_USED,
} from "./layout.ts";
import type { SegmentPool } from "./segment-pool.ts";

/** The hash of a slot has 30 bits. */
const HASH_RANGE = 2 ** 30;
/** Used slots per slot at most; above that, runs of slots grow long. */
const MAX_LOAD = 0.85;
/** A table grows by this share of its pages. */
const GROWTH = 1 / 8;
/** Slots behind the last home, where a run at the end goes on; the table has no wrap-around. */
const OVERFLOW_SHARE = 1 / 8;
const MAX_OVERFLOW = 256;

/**
 * One hash table per shard that maps 30 bits of hash to the location of a record: linear probing over slots in the
 * order of their hashes, in pages from the segment pool.
 *
 * A hash's home is `hash × homes / 2^30`, which grows with the hash, so the whole table is sorted by hash. Therefore an
 * unsuccessful search ends as early as a successful one, a scan can be resumed by hash alone however much the table has
 * grown since, and growing only moves the same sequence further apart, in place. (Source: P. Celis, "Robin Hood
 * Hashing", 1986, section 1.3, for probing in order; O. Amble, D. E. Knuth, "Ordered hash tables", The Computer Journal
 * 17(2), 1974.)
 *
 * All methods but `slotAt`, `home` and `slotCount` need the shard's lock. Slots are changed only between `beginChange`
 * and `endChange`; readers without the lock see an odd or changed sequence number, and retry.
 */
export class IndexTable {
  private readonly control: Int32Array;
  private readonly words: readonly Int32Array[];
  private readonly pageShift: number;
  private readonly pageMask: number;
  private readonly slotsPerPage: number;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
  ) {
    this.control = arena.control;
    this.words = arena.words;
    this.pageShift = arena.segmentShift;
    this.pageMask = arena.segmentUnitMask;
    this.slotsPerPage = 1 << this.pageShift;
  }

  slotCount(shard: number): number {
    return this.control[shard + SHARD_INDEX_PAGES]! * this.slotsPerPage;
  }

  /** The slot of a hash in an otherwise empty table. */
  home(hash: number, slotCount: number): number {
    return Math.trunc((hash * homes(slotCount)) / HASH_RANGE);
  }

  /** The smallest hash whose home is this slot or a later one. */
  firstHash(slot: number, slotCount: number): number {
    let hash = Math.floor((slot * HASH_RANGE) / homes(slotCount));
    while (this.home(hash, slotCount) < slot) hash++;
    return hash;
  }

  /** The location of a slot; read it as `words[location >>> BUFFER_UNIT_SHIFT]` like a record's. */
  slotAt(pageTable: number, slot: number): number {
    return (this.control[pageTable + (slot >>> this.pageShift)]! << this.pageShift) | (slot & this.pageMask);
  }

  beginChange(shard: number): void {
    bump(this.control, shard + SHARD_INDEX_SEQUENCE);
  }

  endChange(shard: number): void {
    bump(this.control, shard + SHARD_INDEX_SEQUENCE);
  }

  /** Pages that must be added before one more slot can be used safely. */
  pagesWanted(shard: number): number {
    const pages = this.control[shard + SHARD_INDEX_PAGES]!;
    const wanted = this.control[shard + SHARD_SLOTS_USED]! + 1;
    if (pages > 0 && wanted <= homes(this.slotCount(shard)) * MAX_LOAD && this.lastSlotIsEmpty(shard)) return 0;
    return Math.max(1, Math.floor(pages * GROWTH));
  }

  /** The number of the slot that refers to a record, or -1. */
  findLocation(shard: number, hash: number, location: number): number {
    const slotCount = this.slotCount(shard);
    const pageTable = this.arena.indexPageTable(shard);
    for (let slot = this.home(hash, slotCount); slot < slotCount; slot++) {
      const at = this.slotAt(pageTable, slot);
      const words = this.words[at >>> BUFFER_UNIT_SHIFT]!;
      const word = (at & BUFFER_UNIT_MASK) << 1;
      const found = words[word + 1]!;
      if (found === location) return slot;
      if (found === 0 || words[word]! >>> 2 > hash) return -1;
    }
    return -1;
  }

  /** Inserts a hash with use count 0. There must be room (`pagesWanted` is 0). */
  insert(shard: number, hash: number, location: number): void {
    const slotCount = this.slotCount(shard);
    const pageTable = this.arena.indexPageTable(shard);
    const words = this.words;
    let slot = this.home(hash, slotCount);
    let carriedHash = hash << 2;
    let carriedLocation = location;
    let placed = false;
    // Slots with greater hashes each move one further, up to the first empty slot.
    for (; slot < slotCount; slot++) {
      const at = this.slotAt(pageTable, slot);
      const page = words[at >>> BUFFER_UNIT_SHIFT]!;
      const word = (at & BUFFER_UNIT_MASK) << 1;
      const thisLocation = page[word + 1]!;
      if (!placed && thisLocation !== 0 && page[word]! >>> 2 <= hash) continue;
      placed = true;
      const thisHash = page[word]!;
      page[word] = carriedHash;
      page[word + 1] = carriedLocation;
      if (thisLocation === 0) {
        this.control[shard + SHARD_SLOTS_USED]!++;
        return;
      }
      carriedHash = thisHash;
      carriedLocation = thisLocation;
    }
    throw new Error("index page overflow: pagesWanted was not asked");
  }

  /** Removes a slot and closes the gap. */
  remove(shard: number, slot: number): void {
    const slotCount = this.slotCount(shard);
    const pageTable = this.arena.indexPageTable(shard);
    const words = this.words;
    let gapAt = this.slotAt(pageTable, slot);
    for (let after = slot + 1; after < slotCount; after++) {
      const at = this.slotAt(pageTable, after);
      const page = words[at >>> BUFFER_UNIT_SHIFT]!;
      const word = (at & BUFFER_UNIT_MASK) << 1;
      const location = page[word + 1]!;
      if (location === 0 || this.home(page[word]! >>> 2, slotCount) === after) break;
      const gap = words[gapAt >>> BUFFER_UNIT_SHIFT]!;
      const gapWord = (gapAt & BUFFER_UNIT_MASK) << 1;
      gap[gapWord] = page[word]!;
      gap[gapWord + 1] = location;
      gapAt = at;
    }
    const gap = words[gapAt >>> BUFFER_UNIT_SHIFT]!;
    gap[(gapAt & BUFFER_UNIT_MASK) << 1] = 0;
    gap[((gapAt & BUFFER_UNIT_MASK) << 1) + 1] = 0;
    this.control[shard + SHARD_SLOTS_USED]!--;
  }

  /** Adds pages that the caller has reserved, and moves the slots apart. Returns how many pages it used. */
  grow(shard: number, pages: number): number {
    const control = this.control;
    const before = control[shard + SHARD_INDEX_PAGES]!;
    const pageTable = this.arena.indexPageTable(shard);
    let taken = 0;
    for (let page = before; page < before + pages; page++) {
      let segment = this.pool.takeIndexPage();
      if (segment < 0) {
        segment = this.pool.take();
        taken++;
      }
      const start = this.arena.location(segment, 0);
      const word = this.arena.wordIndex(start);
      this.arena.wordsAt(start).fill(0, word, word + 2 * this.slotsPerPage);
      control[this.arena.next + segment] = control[shard + SHARD_INDEX_CHAIN]!;
      control[shard + SHARD_INDEX_CHAIN] = segment + 1;
      control[pageTable + page] = segment;
    }
    control[shard + SHARD_SEGMENTS]! += pages;
    this.beginChange(shard);
    this.spread(shard, before * this.slotsPerPage, (before + pages) * this.slotsPerPage);
    control[shard + SHARD_INDEX_PAGES] = before + pages;
    this.endChange(shard);
    return taken;
  }

  /** Removes every slot, and returns the pages to the pool. */
  clear(shard: number): void {
    const control = this.control;
    const pages = control[shard + SHARD_INDEX_PAGES]!;
    if (pages === 0) return;
    this.beginChange(shard);
    control[shard + SHARD_INDEX_PAGES] = 0;
    control[shard + SHARD_SLOTS_USED] = 0;
    this.endChange(shard);
    const first = control[this.arena.indexPageTable(shard)]!;
    this.pool.giveIndexPages(control[shard + SHARD_INDEX_CHAIN]! - 1, first, pages);
    control[shard + SHARD_INDEX_CHAIN] = 0;
    control[shard + SHARD_SEGMENTS]! -= pages;
  }

  private lastSlotIsEmpty(shard: number): boolean {
    const at = this.slotAt(this.arena.indexPageTable(shard), this.slotCount(shard) - 1);
    return this.words[at >>> BUFFER_UNIT_SHIFT]![((at & BUFFER_UNIT_MASK) << 1) + 1] === 0;
  }

  /** Packs all slots at the end of the larger table, then brings each forward to its new place. */
  private spread(shard: number, oldCount: number, newCount: number): void {
    const pageTable = this.arena.indexPageTable(shard);
    let packed = newCount;
    for (let slot = oldCount - 1; slot >= 0; slot--) {
      const at = this.slotAt(pageTable, slot);
      if (this.words[at >>> BUFFER_UNIT_SHIFT]![((at & BUFFER_UNIT_MASK) << 1) + 1] === 0) continue;
      packed--;
      if (packed !== slot) this.moveSlot(at, this.slotAt(pageTable, packed));
    }
    let free = 0;
    for (; packed < newCount; packed++) {
      const at = this.slotAt(pageTable, packed);
      const hash = this.words[at >>> BUFFER_UNIT_SHIFT]![(at & BUFFER_UNIT_MASK) << 1]! >>> 2;
      // A run that would grow past the end starts before its home, where a search from the home would miss it.
      const target = Math.max(free, this.home(hash, newCount));
      if (target > packed) throw new Error("index overflow: a run of equal hashes is longer than the table's end");
      if (target !== packed) this.moveSlot(at, this.slotAt(pageTable, target));
      free = target + 1;
    }
  }

  private moveSlot(from: number, to: number): void {
    const source = this.words[from >>> BUFFER_UNIT_SHIFT]!;
    const sourceWord = (from & BUFFER_UNIT_MASK) << 1;
    const target = this.words[to >>> BUFFER_UNIT_SHIFT]!;
    const targetWord = (to & BUFFER_UNIT_MASK) << 1;
    target[targetWord] = source[sourceWord]!;
    target[targetWord + 1] = source[sourceWord + 1]!;
    source[sourceWord] = 0;
    source[sourceWord + 1] = 0;
  }
}

/** Slots that are homes; the rest is the overflow area at the end. */
function homes(slotCount: number): number {
  return slotCount - Math.min(MAX_OVERFLOW, Math.ceil(slotCount * OVERFLOW_SHARE));
}
