import { EvictedVersions, forgottenBytes } from "./evicted-versions.ts";
import {
  BUFFER_BYTES,
  BUFFER_UNIT_MASK,
  BUFFER_UNIT_SHIFT,
  COUNTERS_PER_THREAD,
  EPOCH_HI,
  EPOCH_LO,
  GLOBAL_WORDS,
  HASH_KEY_0,
  HASH_KEY_1,
  SEGMENT_TABLES,
  SHARD_WORDS,
  UNIT_BYTES,
} from "./layout.ts";
import { type EngineBrokenError, Locks } from "./mutex.ts";
import { divideMemory, type Geometry } from "./sizing.ts";

/** The shared buffers, in the form in which threads pass them to each other. Structured-cloneable. */
export interface MemoryHandle {
  readonly geometry: Geometry;
  readonly control: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly data: readonly SharedArrayBuffer[];
  /** See `evicted-versions.ts`; empty if no evicted versions are remembered. */
  readonly forgotten: SharedArrayBuffer;
}

/** Allocates the shared memory. The kernel commits pages when they are first touched. Throws `MemoryLimitError`. */
export function allocateMemory(
  limitBytes: number,
  threads: number,
  nowMs: number,
  randomWord: () => number,
  remembersForgotten: boolean,
): MemoryHandle {
  const shardCount = remembersForgotten ? divideMemory(limitBytes, threads).shardCount : 0;
  const forgotten = new SharedArrayBuffer(remembersForgotten ? forgottenBytes(limitBytes, shardCount) : 0);
  const geometry = divideMemory(limitBytes - forgotten.byteLength, threads);
  const control = new SharedArrayBuffer(geometry.controlBytes);
  const words = new Int32Array(control);
  words[HASH_KEY_0] = randomWord();
  words[HASH_KEY_1] = randomWord();
  words[EPOCH_LO] = nowMs;
  words[EPOCH_HI] = Math.floor(nowMs / 2 ** 32);
  const data: SharedArrayBuffer[] = [];
  let left = geometry.segmentCount * geometry.segmentBytes;
  while (left > 0) {
    const bytes = Math.min(left, BUFFER_BYTES);
    data.push(new SharedArrayBuffer(bytes));
    left -= bytes;
  }
  return { geometry, control, counters: new SharedArrayBuffer(geometry.counterBytes), data, forgotten };
}

/**
 * Creates the views through which one thread accesses the shared buffers. Tests pass views that call back on each
 * store.
 */
export interface MemoryViews {
  words(buffer: SharedArrayBuffer): Int32Array;
  bytes(buffer: SharedArrayBuffer): Buffer;
}

const PLAIN_VIEWS: MemoryViews = {
  words: (buffer) => new Int32Array(buffer),
  bytes: (buffer) => Buffer.from(buffer),
};

export interface ArenaOptions {
  readonly views?: MemoryViews | undefined;
  /** This thread's number; 0 by default. */
  readonly thread?: number | undefined;
  /**
   * Called once for each call that finds the memory broken, in addition to the error; by default it ends the thread.
   */
  readonly onBroken?: ((error: EngineBrokenError) => void) | undefined;
}

/** A caller could treat the error as that of one request. Thrown uncaught, it ends the thread, and with it the node. */
function endThread(error: EngineBrokenError): void {
  setImmediate(() => {
    throw error;
  });
}

/** One thread's views of the shared memory, and the address arithmetic. */
export class Arena {
  readonly geometry: Geometry;
  readonly forgotten: EvictedVersions;
  readonly control: Int32Array;
  /** Words and bytes of the data buffers. A location from a torn read finds an empty array instead of undefined. */
  readonly words: readonly Int32Array[];
  readonly bytes: readonly Buffer[];
  readonly segmentBytes: number;
  /** log2 of the units of a segment. */
  readonly segmentShift: number;
  readonly segmentUnitMask: number;

  // Start of each table of the control buffer, in words.
  readonly next: number;
  readonly prev: number;
  readonly live: number;
  readonly first: number;
  readonly used: number;
  readonly born: number;
  private readonly indexPages: number;
  private readonly ghostPages: number;

  /** The locks of this thread. */
  readonly locks: Locks;

  constructor(
    readonly handle: MemoryHandle,
    { views = PLAIN_VIEWS, thread = 0, onBroken = endThread }: ArenaOptions = {},
  ) {
    this.geometry = handle.geometry;
    this.forgotten = new EvictedVersions(handle.forgotten, handle.geometry.shardCount);
    this.control = views.words(handle.control);
    this.locks = new Locks(this.control, thread, onBroken);
    const words: Int32Array[] = handle.data.map((buffer) => views.words(buffer));
    const bytes: Buffer[] = handle.data.map((buffer) => views.bytes(buffer));
    while (words.length < 32) {
      words.push(new Int32Array(0));
      bytes.push(Buffer.alloc(0));
    }
    this.words = words;
    this.bytes = bytes;
    const { segmentBytes, segmentCount, shardCount, maxIndexPages } = this.geometry;
    this.segmentBytes = segmentBytes;
    this.segmentShift = Math.log2(segmentBytes / UNIT_BYTES);
    this.segmentUnitMask = segmentBytes / UNIT_BYTES - 1;
    const tables = GLOBAL_WORDS + shardCount * SHARD_WORDS;
    this.next = tables;
    this.prev = tables + segmentCount;
    this.live = tables + 2 * segmentCount;
    this.first = tables + 3 * segmentCount;
    this.used = tables + 4 * segmentCount;
    this.born = tables + 5 * segmentCount;
    this.indexPages = tables + SEGMENT_TABLES * segmentCount;
    this.ghostPages = this.indexPages + shardCount * maxIndexPages;
  }

  /** Start of a shard's header in `control`. */
  shard(number: number): number {
    return GLOBAL_WORDS + number * SHARD_WORDS;
  }

  shardNumber(shard: number): number {
    return (shard - GLOBAL_WORDS) / SHARD_WORDS;
  }

  /** Start of a shard's table of index pages in `control`. */
  indexPageTable(shard: number): number {
    return this.indexPages + this.shardNumber(shard) * this.geometry.maxIndexPages;
  }

  ghostPageTable(shard: number): number {
    return this.ghostPages + this.shardNumber(shard) * this.geometry.maxGhostPages;
  }

  /** The location of a byte in a segment; the offset is a multiple of 8. */
  location(segment: number, offsetBytes: number): number {
    return (segment << this.segmentShift) | (offsetBytes >>> 3);
  }

  segmentOf(location: number): number {
    return location >>> this.segmentShift;
  }

  /** Offset of a location within its segment, in bytes. */
  offsetOf(location: number): number {
    return (location & this.segmentUnitMask) << 3;
  }

  /** The words of the buffer that contains a location … */
  wordsAt(location: number): Int32Array {
    return this.words[location >>> BUFFER_UNIT_SHIFT]!;
  }

  /** … the bytes of that buffer … */
  bytesAt(location: number): Buffer {
    return this.bytes[location >>> BUFFER_UNIT_SHIFT]!;
  }

  /** … and the index of its first word in them; times 4 gives the byte. */
  wordIndex(location: number): number {
    return (location & BUFFER_UNIT_MASK) << 1;
  }

  /** This thread's counters. */
  counters(thread: number): Float64Array {
    return new Float64Array(this.handle.counters, thread * COUNTERS_PER_THREAD * 8, COUNTERS_PER_THREAD);
  }
}
