/** A fault that the proof must find: one replacement in one file of the memory engine, whose text occurs exactly once. */
export interface Mutant {
  readonly name: string;
  /** In `src/engine/memory/`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** A second replacement, where the fault is an order. */
  readonly also?: readonly [find: string, replace: string];
}

const readerMutants: readonly Mutant[] = [
  of("reader: reads in mid-change", "reader.ts", "if ((sequence & 1) !== 0) return CHANGING;", ""),
  of("reader: no fence after the sequence", "reader.ts", "fence(own);\n    const recycled", "const recycled"),
  of(
    "reader: no fence before the sequence is looked at again",
    "reader.ts",
    "fence(own);\n    if (control[shard",
    "if (control[shard",
  ),
  of(
    "reader: the sequence isn't looked at again",
    "reader.ts",
    "if (control[shard + SHARD_INDEX_SEQUENCE] !== sequence) return CHANGING;",
    "",
  ),
  of(
    "reader: a miss isn't validated",
    "reader.ts",
    "const found = this.find(key, nowMs);",
    "const found = this.find(key, nowMs);\n    if (!found) return MISSED;",
  ),
  of(
    "reader: the recycle sequence is read after the record is found",
    "reader.ts",
    "return this.copyTo(sink, recycled)",
    "return this.copyTo(sink, control[shard + SHARD_RECYCLE_SEQUENCE]! + recycled * 0)",
  ),
  of(
    "reader: a copy isn't validated",
    "reader.ts",
    "return this.control[this.shard + SHARD_RECYCLE_SEQUENCE] === recycled;",
    "return recycled === recycled;",
  ),
  of("reader: no fence after a copy", "reader.ts", "fence(this.own);\n    return", "return"),
  of(
    "reader: what is known without the value isn't validated",
    "reader.ts",
    "if (!sink.begin(info)) return this.isUnrecycled(recycled);",
    "if (!sink.begin(info)) return true;",
  ),
  of(
    "reader: the end of a copy isn't validated",
    "reader.ts",
    "rest, rest + left - here);\n    }\n    return this.isUnrecycled(recycled);",
    "rest, rest + left - here);\n    }\n    return true;",
  ),
  of("reader: expired entries are served", "reader.ts", "this.info.expiresAtMs > nowMs;", "true;"),
  of("reader: tombstones are served", "reader.ts", "if ((this.info.meta & FLAG_TOMBSTONE) !== 0) return false;", ""),
  of(
    "reader: a use is counted by a plain store",
    "reader.ts",
    "Atomics.compareExchange(slotWords, slotWord, slotHash, slotHash + 1);",
    "slotWords[slotWord] = slotHash + 1;",
  ),
  of(
    "parts: another stamp will do",
    "part-reader.ts",
    "this.isSame = info.revision === this.version &&",
    "this.isSame =",
  ),
  of(
    "parts: the next segment isn't looked for",
    "part-reader.ts",
    "control[next + segment]! - 1, SEGMENT",
    "segment, SEGMENT",
  ),
  of("fence: none", "fence.ts", "Atomics.add(word, 0, 0);\n  if", "if"),
  of("fence: a sequence is moved by a plain store", "fence.ts", "Atomics.add(words, at, 1);", "words[at]!++;"),
];

const storeMutants: readonly Mutant[] = [
  of(
    "store: a moved record dies before the index refers to its copy",
    "shard-store.ts",
    "const target = this.log.copy(shard, location, queue);",
    "const target = this.log.copy(shard, location, queue);\n    this.log.drop(shard, location);",
    ["    this.log.drop(shard, location);\n  }", "  }"],
  ),
  of("store: a moved record never dies", "shard-store.ts", "    this.log.drop(shard, location);\n", ""),
  of(
    "store: a replaced record dies before the index refers to the new one",
    "shard-store.ts",
    "    this.repoint(shard, slot, location);\n    if",
    "    this.log.kill(shard, oldLocation);\n    this.repoint(shard, slot, location);\n    if",
    ["if (withBlob) this.log.kill(shard, oldLocation);\n    else ", "if (!withBlob) "],
  ),
  of(
    "store: a touch gives back the blob that the new record has taken over",
    "shard-store.ts",
    "if (withBlob) this.log.kill(shard, oldLocation);\n    else this.log.drop(shard, oldLocation);",
    "this.log.kill(shard, oldLocation);",
  ),
  of(
    "store: a removed record dies before it leaves the index",
    "shard-store.ts",
    "  remove(shard: number, slot: number, location: number): void {\n",
    "  remove(shard: number, slot: number, location: number): void {\n    this.unfileExpiry(shard, location);\n    this.log.kill(shard, location);\n",
    ["    this.unfileExpiry(shard, location);\n    this.log.kill(shard, location);\n  }", "  }"],
  ),
  of(
    "store: an insert begins no change",
    "shard-store.ts",
    "    this.index.beginChange(shard);\n    this.index.insert(",
    "    this.index.insert(",
    [
      "    this.index.endChange(shard);\n    if (this.isTombstone(location)) this.control[shard + SHARD_TOMBSTONES]!++;",
      "",
    ],
  ),
  of(
    "store: an insert ends no change",
    "shard-store.ts",
    "    this.index.insert(shard, hash, location);\n    this.index.endChange(shard);",
    "    this.index.insert(shard, hash, location);",
  ),
  of(
    "store: a removal begins and ends no change",
    "shard-store.ts",
    "    this.index.beginChange(shard);\n    this.index.remove(shard, slot);\n    this.index.endChange(shard);",
    "    this.index.remove(shard, slot);",
  ),
  of(
    "store: an insert is over before it begins",
    "shard-store.ts",
    "    this.index.insert(shard, hash, location);\n    this.index.endChange(shard);",
    "    this.index.endChange(shard);\n    this.index.insert(shard, hash, location);",
  ),
  of(
    "store: the index refers to another record without a change",
    "shard-store.ts",
    "    this.index.beginChange(shard);\n    this.arena.words[at",
    "    this.arena.words[at",
    ["SLOT_LOCATION] = location;\n    this.index.endChange(shard);", "SLOT_LOCATION] = location;"],
  ),
  of(
    "store: what is forgotten isn't remembered",
    "shard-store.ts",
    "    if (forgotten.isEnabled) {\n      forgotten.add(",
    "    if (!forgotten.isEnabled) {\n      forgotten.add(",
  ),
];

const logMutants: readonly Mutant[] = [
  of(
    "log: a freed segment moves no sequence",
    "record-log.ts",
    "    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n    if (before !== 0)",
    "    if (before !== 0)",
  ),
  of(
    "log: the sequence moves after a segment's links",
    "record-log.ts",
    "    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n    if (before !== 0)",
    "    if (before !== 0)",
    [
      "    this.pool.give(segment, segment, 1);",
      "    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n    this.pool.give(segment, segment, 1);",
    ],
  ),
  of(
    "log: a segment is given back before the sequence moves",
    "record-log.ts",
    "    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n    if (before !== 0)",
    "    if (before !== 0)",
    [
      "    this.pool.give(segment, segment, 1);",
      "    this.pool.give(segment, segment, 1);\n    bump(control, shard + SHARD_RECYCLE_SEQUENCE);",
    ],
  ),
  of(
    "log: a freed blob moves no sequence",
    "record-log.ts",
    "    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n    if (before === 0)",
    "    if (before === 0)",
  ),
  of(
    "log: a blob is given back before the sequence moves",
    "record-log.ts",
    "    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n    if (before === 0)",
    "    if (before === 0)",
    [
      "    this.pool.give(first, last, count);\n",
      "    this.pool.give(first, last, count);\n    bump(control, shard + SHARD_RECYCLE_SEQUENCE);\n",
    ],
  ),
  of(
    "log: a clear moves no sequence",
    "record-log.ts",
    "    bump(this.control, shard + SHARD_RECYCLE_SEQUENCE);\n",
    "",
  ),
  of("log: the queues outlive a clear", "record-log.ts", "    this.clearChain(shard, shard + SHARD_MAIN);\n", ""),
  of(
    "log: a blob outlives its record",
    "record-log.ts",
    "    if (plan.blobSegments > 0) this.freeBlob(shard, location, plan.blobSegments);\n",
    "",
  ),
];

const indexMutants: readonly Mutant[] = [
  of(
    "index: no change begins",
    "index-table.ts",
    "beginChange(shard: number): void {\n    bump(this.control, shard + SHARD_INDEX_SEQUENCE);",
    "beginChange(_shard: number): void {",
  ),
  of(
    "index: no change ends",
    "index-table.ts",
    "endChange(shard: number): void {\n    bump(this.control, shard + SHARD_INDEX_SEQUENCE);",
    "endChange(_shard: number): void {",
  ),
  of(
    "index: it grows without a change",
    "index-table.ts",
    "    this.beginChange(shard);\n    this.spread(",
    "    this.spread(",
    [
      "    control[shard + SHARD_INDEX_PAGES] = before + pages;\n    this.endChange(shard);",
      "    control[shard + SHARD_INDEX_PAGES] = before + pages;",
    ],
  ),
  of(
    "index: its pages are counted after the change",
    "index-table.ts",
    "    control[shard + SHARD_INDEX_PAGES] = before + pages;\n    this.endChange(shard);",
    "    this.endChange(shard);\n    control[shard + SHARD_INDEX_PAGES] = before + pages;",
  ),
  of(
    "index: a new page has old slots",
    "index-table.ts",
    "      this.arena.wordsAt(start).fill(0, word, word + 2 * this.slotsPerPage);\n",
    "",
  ),
  of(
    "index: it is cleared without a change",
    "index-table.ts",
    "    this.beginChange(shard);\n    control[shard + SHARD_INDEX_PAGES] = 0;",
    "    control[shard + SHARD_INDEX_PAGES] = 0;",
    [
      "    control[shard + SHARD_SLOTS_USED] = 0;\n    this.endChange(shard);",
      "    control[shard + SHARD_SLOTS_USED] = 0;",
    ],
  ),
];

const writerMutants: readonly Mutant[] = [
  of(
    "writer: the index refers to a record before it is written",
    "record-writer.ts",
    "    this.writeHeader(location, record, flags | (queue === SHARD_MAIN ? FLAG_MAIN : 0), blob);\n",
    "",
    [
      "    this.rememberNewest(shard, record.stamp.version);\n    return 0;",
      "    this.writeHeader(location, record, flags | (queue === SHARD_MAIN ? FLAG_MAIN : 0), blob);\n    this.rememberNewest(shard, record.stamp.version);\n    return 0;",
    ],
  ),
  of(
    "writer: the index refers to a value before it is written",
    "record-writer.ts",
    "    if (takenBlob < 0) this.log.writeValue(location, plan, blob, record.source, record.start, record.end);\n    else {",
    "    if (takenBlob >= 0) {",
    [
      "    this.rememberNewest(shard, record.stamp.version);\n    return 0;",
      "    if (takenBlob < 0) this.log.writeValue(location, plan, blob, record.source, record.start, record.end);\n    this.rememberNewest(shard, record.stamp.version);\n    return 0;",
    ],
  ),
  of(
    "writer: a touch in place begins and ends no change",
    "record-writer.ts",
    "    this.index.beginChange(shard);\n    writeSafeInteger",
    "    writeSafeInteger",
    ["RECORD_EXPIRY_HI, expiresAtMs);\n    this.index.endChange(shard);", "RECORD_EXPIRY_HI, expiresAtMs);"],
  ),
  of(
    "writer: a touch in place ends no change",
    "record-writer.ts",
    "RECORD_EXPIRY_HI, expiresAtMs);\n    this.index.endChange(shard);",
    "RECORD_EXPIRY_HI, expiresAtMs);",
  ),
  of(
    "writer: a touch in place is over before the expiry is written",
    "record-writer.ts",
    "    this.index.beginChange(shard);\n    writeSafeInteger",
    "    this.index.beginChange(shard);\n    this.index.endChange(shard);\n    writeSafeInteger",
    ["RECORD_EXPIRY_HI, expiresAtMs);\n    this.index.endChange(shard);", "RECORD_EXPIRY_HI, expiresAtMs);"],
  ),
  of(
    "writer: nothing is locked",
    "writer.ts",
    "    this.arena.locks.lock(shard + SHARD_LOCK);\n    return shard;",
    "    return shard;",
  ),
  of(
    "writer: what is in the index isn't newer than anything",
    "writer.ts",
    "return version > stamp.version || (version === stamp.version && nodeIdOf(words, word) >= stamp.nodeId);",
    "return version < 0;",
  ),
];

const otherMutants: readonly Mutant[] = [
  of(
    "lock: is taken though it isn't free",
    "mutex.ts",
    "if (Atomics.compareExchange(this.words, at, 0, this.own) !== 0) this.lockLater(at);",
    "Atomics.store(this.words, at, this.own);",
  ),
  of(
    "lock: isn't given back",
    "mutex.ts",
    "if (Atomics.compareExchange(words, at, own, 0) === own) return;",
    "if (Atomics.load(words, at) === own) return;",
  ),
  of("lock: a sleeper isn't woken", "mutex.ts", "Atomics.notify(words, at, 1);", "Atomics.load(words, at);"),
  of(
    "lock: the owner doesn't hear of a sleeper",
    "mutex.ts",
    "Atomics.compareExchange(words, at, 0, own | WAITED)",
    "Atomics.compareExchange(words, at, 0, own)",
  ),
  of("lock: a broken one is given back", "mutex.ts", "Atomics.store(this.words, at, BROKEN);", ""),
  of(
    "eviction: what is kept reserves no room",
    "eviction.ts",
    "if (needed > 0 && !this.pool.reserve(needed, 0)) return false;",
    "",
  ),
  of("eviction: a segment that is gone is read on", "eviction.ts", "      if (alive === 0) return true;\n", ""),
  of(
    "clear: segments are given back before the index is cleared",
    "sweeper.ts",
    "      this.index.clear(shard);\n",
    "",
    ["      this.log.clear(shard);\n", "      this.log.clear(shard);\n      this.index.clear(shard);\n"],
  ),
  of("clear: the timers outlive their records", "sweeper.ts", "      this.wheel.clear(shard);\n", ""),
  of(
    "pool: takes without its lock",
    "segment-pool.ts",
    "    this.arena.locks.lock(POOL_LOCK);\n    control[POOL_RESERVED]!--;",
    "    control[POOL_RESERVED]!--;",
  ),
  of(
    "pool: never gives its lock back",
    "segment-pool.ts",
    "    control[POOL_FREE_COUNT]! += count;\n    this.arena.locks.unlock(POOL_LOCK);",
    "    control[POOL_FREE_COUNT]! += count;",
  ),
  of(
    "pool: looks for a free segment before it has the lock",
    "segment-pool.ts",
    "    this.arena.locks.lock(POOL_LOCK);\n    control[POOL_RESERVED]!--;\n    let segment: number;\n    const head = control[POOL_FREE_HEAD]!;\n",
    "    const head = control[POOL_FREE_HEAD]!;\n    this.arena.locks.lock(POOL_LOCK);\n    control[POOL_RESERVED]!--;\n    let segment: number;\n",
  ),
  of(
    "pool: counts what is free before it has the lock",
    "segment-pool.ts",
    "    this.arena.locks.lock(POOL_LOCK);\n    const granted = this.freeCount() - control[POOL_RESERVED]! >= count + spare;\n",
    "    const granted = this.freeCount() - control[POOL_RESERVED]! >= count + spare;\n    this.arena.locks.lock(POOL_LOCK);\n",
  ),
  of("pool: what isn't taken stays reserved", "segment-pool.ts", "    this.control[POOL_RESERVED]! -= count;\n", ""),
];

/**
 * Not in the list, because no reader could tell: the order of the two words of a slot (they change within a change of the
 * index), the checks between two parts of a copy (they end it early; the last one decides), and the second half of a fence,
 * which only ARM64 needs.
 */
export const MUTANTS: readonly Mutant[] = [
  ...readerMutants,
  ...storeMutants,
  ...logMutants,
  ...indexMutants,
  ...writerMutants,
  ...otherMutants,
];

/** The source with the fault in it. Throws if the mutant's text doesn't occur exactly once. */
export function plant({ name, find, replace, also }: Mutant, source: string): string {
  let planted = source;
  for (const [text, by] of also === undefined ? [[find, replace] as const] : [[find, replace] as const, also]) {
    const parts = planted.split(text);
    if (parts.length !== 2) throw new Error(`mutant "${name}" applies ${parts.length - 1} times: ${text}`);
    planted = parts.join(by);
  }
  return planted;
}

function of(
  name: string,
  file: string,
  find: string,
  replace: string,
  also?: readonly [find: string, replace: string],
): Mutant {
  return also === undefined ? { name, file, find, replace } : { name, file, find, replace, also };
}
