import { Arena } from "../../src/engine/memory/arena.ts";
import {
  FLAG_BLOB,
  FLAG_EXPIRES,
  FLAG_MAIN,
  type Queue,
  RECORD_EXPIRY_HI,
  RECORD_EXPIRY_LO,
  RECORD_META,
  RECORD_VALUE_BYTES,
  SHARD_MAIN,
} from "../../src/engine/memory/layout.ts";
import { blobWord, keyOffset, RecordPlan, writeSafeInteger } from "../../src/engine/memory/record.ts";
import { RecordLog } from "../../src/engine/memory/record-log.ts";
import { SegmentPool } from "../../src/engine/memory/segment-pool.ts";
import { type SmallMemory, smallMemory } from "./small-memory.ts";

const SHAPE: SmallMemory = {
  shards: 1,
  segmentBytes: 512,
  segments: 32,
  indexPages: 16,
  threads: 1,
  nowMs: 0,
  versioned: false,
};

/** The parts of a memory that is a few records large, for tests of one part at a time. */
export class SmallShard {
  readonly arena: Arena;
  readonly pool: SegmentPool;
  readonly log: RecordLog;
  readonly shard: number;
  private readonly plan: RecordPlan;

  constructor(shape: Partial<SmallMemory> = {}) {
    this.arena = new Arena(smallMemory({ ...SHAPE, ...shape }));
    this.pool = new SegmentPool(this.arena);
    this.log = new RecordLog(this.arena, this.pool);
    this.shard = this.arena.shard(0);
    this.plan = new RecordPlan(this.log.blobSegmentBytes);
  }

  control(word: number): number {
    return this.arena.control[this.shard + word] ?? 0;
  }

  /** Promises segments, as every caller does before it takes them. */
  reserve(count: number): void {
    if (!this.pool.reserve(count, 0)) throw new Error(`no ${count} segments are free`);
  }

  /** Appends a record with this value; gives its location. */
  append(queue: Queue, value: Buffer, expiresAtMs = 0, key = "k"): number {
    const { log, plan, arena, shard } = this;
    plan.plan(key.length, 0, value.length, expiresAtMs !== 0, false);
    this.reserve(log.segmentsNeeded(shard, queue, plan));
    const blob = plan.blobSegments > 0 ? log.appendBlob(shard, plan.blobSegments) : -1;
    const location = log.append(shard, queue, plan);
    const words = arena.wordsAt(location);
    const word = arena.wordIndex(location);
    const meta =
      key.length |
      (queue === SHARD_MAIN ? FLAG_MAIN : 0) |
      (expiresAtMs === 0 ? 0 : FLAG_EXPIRES) |
      (blob < 0 ? 0 : FLAG_BLOB);
    words[word + RECORD_META] = meta;
    words[word + RECORD_VALUE_BYTES] = value.length;
    if (expiresAtMs !== 0) writeSafeInteger(words, word + RECORD_EXPIRY_LO, word + RECORD_EXPIRY_HI, expiresAtMs);
    if (blob >= 0) words[word + blobWord(meta)] = blob;
    arena.bytesAt(location).write(key, (word << 2) + keyOffset(meta), "latin1");
    log.writeValue(location, plan, blob, value, 0, value.length);
    return location;
  }
}
