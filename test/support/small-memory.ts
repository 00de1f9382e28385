import { allocateMemory, type MemoryHandle } from "../../src/engine/memory/arena.ts";
import {
  COUNTERS_PER_THREAD,
  EPOCH_HI,
  EPOCH_LO,
  GLOBAL_WORDS,
  HASH_KEY_0,
  SEGMENT_TABLES,
  SHARD_WORDS,
} from "../../src/engine/memory/layout.ts";

export interface SmallMemory {
  readonly shards: number;
  readonly segmentBytes: number;
  readonly segments: number;
  readonly indexPages: number;
  readonly threads: number;
  readonly nowMs: number;
  readonly versioned: boolean;
}

const MAX_GHOST_PAGES = 8;

/** A memory of several shards that is far too small for `allocateMemory`, so that every branch is a few puts away. */
export function smallMemory(memory: SmallMemory): MemoryHandle {
  const { shards, segmentBytes, segments, indexPages, threads, nowMs } = memory;
  const words = GLOBAL_WORDS + shards * (SHARD_WORDS + indexPages + MAX_GHOST_PAGES) + segments * SEGMENT_TABLES;
  const controlBytes = words * 4;
  const counterBytes = threads * COUNTERS_PER_THREAD * 8;
  const control = new SharedArrayBuffer(controlBytes);
  const header = new Int32Array(control);
  header[HASH_KEY_0] = 0x5eed;
  header[EPOCH_LO] = nowMs;
  header[EPOCH_HI] = Math.floor(nowMs / 2 ** 32);
  // Buckets as many as the smallest memory has, for each shard.
  const forgotten = allocateMemory(64 * 1024, 1, nowMs, () => 0, memory.versioned).forgotten.byteLength;
  return {
    geometry: {
      limitBytes: controlBytes + counterBytes + segments * segmentBytes,
      threads,
      shardCount: shards,
      segmentBytes,
      segmentCount: segments,
      controlBytes,
      counterBytes,
      maxIndexPages: indexPages,
      maxGhostPages: MAX_GHOST_PAGES,
      spareSegments: 3,
    },
    control,
    counters: new SharedArrayBuffer(counterBytes),
    data: [new SharedArrayBuffer(segments * segmentBytes)],
    forgotten: new SharedArrayBuffer(forgotten * shards),
  };
}
