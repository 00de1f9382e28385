import {
  BUFFER_BYTES,
  COUNTERS_PER_THREAD,
  GLOBAL_WORDS,
  MAX_BUFFERS,
  RECORD_WORDS,
  SEGMENT_RESERVED_BYTES,
  SEGMENT_TABLES,
  SHARD_WORDS,
  UNIT_BYTES,
} from "./layout.ts";

/** The smallest shard that justifies its header. */
const SHARD_MIN_BYTES = 2 * 1024 * 1024;
const MAX_SHARDS = 256;
/** Target number of segments per shard, so that half-empty segments at the ends of a queue matter little. */
const SEGMENTS_PER_SHARD = 128;
const MIN_SEGMENT_BYTES = 512;
const MAX_SEGMENT_BYTES = 128 * 1024;
const MIN_SEGMENTS = 8;
/** The most pages of a shard's tables, as a share of the segments per shard. */
const INDEX_PAGES_SHARE = 0.6;
const GHOST_PAGES_SHARE = 0.4;

/** The division of the memory, derived from the limit and the number of threads. */
export interface Geometry {
  readonly limitBytes: number;
  readonly threads: number;
  /** A power of two. */
  readonly shardCount: number;
  /** A power of two. */
  readonly segmentBytes: number;
  readonly segmentCount: number;
  readonly controlBytes: number;
  readonly counterBytes: number;
  readonly maxIndexPages: number;
  readonly maxGhostPages: number;
  /** Free segments reserved for eviction, which needs room for the records that it keeps. */
  readonly spareSegments: number;
}

/** The memory limit is too small or too large. */
export class MemoryLimitError extends Error {
  readonly code = "ERR_MEMORY_LIMIT";
}

/**
 * Divides `limitBytes` among `threads` threads. Throws `MemoryLimitError` if the limit is too small, or more than
 * locations can address (28 GiB).
 */
export function divideMemory(limitBytes: number, threads: number): Geometry {
  if (limitBytes > MAX_BUFFERS * BUFFER_BYTES) {
    throw new MemoryLimitError(`memory limit of ${limitBytes} bytes is above ${MAX_BUFFERS} GiB, the most it can be`);
  }
  const shardCount = Math.min(MAX_SHARDS, powerOfTwoUpTo(Math.max(1, limitBytes / SHARD_MIN_BYTES)));
  const segmentBytes = Math.min(
    MAX_SEGMENT_BYTES,
    Math.max(MIN_SEGMENT_BYTES, powerOfTwoUpTo(limitBytes / shardCount / SEGMENTS_PER_SHARD)),
  );
  const counterBytes = threads * COUNTERS_PER_THREAD * 8;
  const spareSegments = segmentBytes === MIN_SEGMENT_BYTES ? 3 : 2 + 2 * threads;
  let segmentCount = Math.floor((limitBytes - counterBytes) / segmentBytes);
  for (;;) {
    const share = segmentCount / shardCount;
    const maxIndexPages = Math.ceil(share * INDEX_PAGES_SHARE) + 2;
    const maxGhostPages = Math.ceil(share * GHOST_PAGES_SHARE) + 2;
    const words =
      GLOBAL_WORDS +
      shardCount * (SHARD_WORDS + maxIndexPages + maxGhostPages) +
      Math.max(0, segmentCount) * SEGMENT_TABLES;
    const controlBytes = words * 4;
    if (segmentCount < MIN_SEGMENTS + spareSegments) {
      throw new MemoryLimitError(`memory limit of ${limitBytes} bytes is too small for ${threads} threads; give more`);
    }
    if (controlBytes + counterBytes + segmentCount * segmentBytes <= limitBytes) {
      return {
        limitBytes,
        threads,
        shardCount,
        segmentBytes,
        segmentCount,
        controlBytes,
        counterBytes,
        maxIndexPages,
        maxGhostPages,
        spareSegments,
      };
    }
    segmentCount--;
  }
}

/**
 * The smallest limit, in bytes, under which about `count` entries without expiry fit at the same time, with keys of
 * `keyBytes` and values of `valueBytes` (one thread).
 */
export function bytesForEntries(count: number, keyBytes: number, valueBytes: number): number {
  const recordBytes = Math.ceil((RECORD_WORDS * 4 + keyBytes + valueBytes) / UNIT_BYTES) * UNIT_BYTES;
  let low = MIN_SEGMENT_BYTES * MIN_SEGMENTS;
  let high = BUFFER_BYTES * MAX_BUFFERS;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (entriesIn(middle, recordBytes) >= count) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * How many records of one size fit into a limit, including index and ghosts, with the ends of every queue half full.
 */
function entriesIn(limitBytes: number, recordBytes: number): number {
  let geometry: Geometry;
  try {
    geometry = divideMemory(limitBytes, 1);
  } catch (error) {
    if (error instanceof MemoryLimitError) return 0;
    throw error;
  }
  const { segmentBytes, segmentCount, shardCount, spareSegments } = geometry;
  const usable = segmentCount - spareSegments;
  const recordsPerSegment = (segmentBytes - SEGMENT_RESERVED_BYTES) / recordBytes;
  let records = usable * recordsPerSegment;
  // Two pages of rounding per table; the sizes of the tables depend on the records, so iterate.
  for (let round = 0; round < 8; round++) {
    const perShard = records / shardCount;
    const indexPages = Math.ceil((perShard / 0.8) * (UNIT_BYTES / segmentBytes));
    const ghostPages = Math.ceil((perShard / 0.7) * (4 / segmentBytes));
    records = Math.max(0, usable - shardCount * (indexPages + ghostPages + 2)) * recordsPerSegment;
  }
  return Math.floor(records);
}

function powerOfTwoUpTo(value: number): number {
  return 2 ** Math.floor(Math.log2(value));
}
