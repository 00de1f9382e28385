import { edenGC, fullGC, heapSize } from "bun:jsc";

/** How soon the heap is looked at again, in ms: each look costs up to a millisecond. */
const MIN_PAUSE_MS = 40;
const MAX_PAUSE_MS = 320;
/** Growth of the heap after which young objects are collected. What buffers take besides comes on top, about twice it. */
const YOUNG_BYTES = 8 * 1024 ** 2;
/** Growth since all objects were last collected after which all are collected again: a share of the node's memory. */
const ALL_SHARE = 1 / 32;
const LEAST_ALL_BYTES = 8 * 1024 ** 2;
const MOST_ALL_BYTES = 48 * 1024 ** 2;

/** What is needed of the JavaScript engine's heap. */
export interface Heap {
  sizeBytes(): number;
  collectYoung(): void;
  collectAll(): void;
}

/** Of the thread that calls it. */
export const OWN_HEAP: Heap = { sizeBytes: heapSize, collectYoung: edenGC, collectAll: fullGC };

/**
 * Collects garbage by how much of it there is. Left to itself, the engine counts the shared memory of the entries as
 * part of the heap, and lets garbage grow in proportion to it: with a cache of 6 GiB, by gigabytes.
 */
export class HeapKeeper {
  private timer: ReturnType<typeof setTimeout> | null = null;
  private pauseMs = MIN_PAUSE_MS;
  private afterYoung: number;
  private afterAll: number;
  private lastBytes: number;

  private readonly allBytes: number;

  /** @param limitBytes of the process: where there is little, garbage is collected sooner */
  constructor(
    private readonly heap: Heap,
    limitBytes: number,
  ) {
    this.allBytes = Math.min(MOST_ALL_BYTES, Math.max(LEAST_ALL_BYTES, limitBytes * ALL_SHARE));
    this.afterAll = heap.sizeBytes();
    this.afterYoung = this.afterAll;
    this.lastBytes = this.afterAll;
    this.wait();
  }

  /** Collects if it is time to; gives the pause until the next look, in ms: shorter where the heap grows faster. */
  look(): number {
    const size = this.heap.sizeBytes();
    const bytesPerMs = Math.max(0, size - this.lastBytes) / this.pauseMs;
    const isDue = size - this.afterYoung >= YOUNG_BYTES;
    if (isDue) this.collect();
    else this.afterYoung = Math.min(this.afterYoung, size);
    this.lastBytes = isDue ? this.afterYoung : size;
    const roomBytes = this.afterYoung + YOUNG_BYTES - this.lastBytes;
    // Not more than twice the pause: a storm may begin at any time.
    const mostMs = Math.min(MAX_PAUSE_MS, 2 * this.pauseMs);
    const wantedMs = bytesPerMs === 0 ? mostMs : roomBytes / bytesPerMs;
    this.pauseMs = Math.max(MIN_PAUSE_MS, Math.min(mostMs, wantedMs));
    return this.pauseMs;
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private collect(): void {
    this.heap.collectYoung();
    this.afterYoung = this.heap.sizeBytes();
    if (this.afterYoung - this.afterAll < this.allBytes) return;
    this.heap.collectAll();
    this.afterAll = this.heap.sizeBytes();
    this.afterYoung = this.afterAll;
  }

  private wait(): void {
    this.timer = setTimeout(() => {
      this.look();
      this.wait();
    }, this.pauseMs);
    this.timer.unref();
  }
}
