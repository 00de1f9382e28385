/** How often the heap is looked at, in ms. */
const LOOK_EVERY_MS = 40;
/** Growth of the heap after which young objects are collected. What buffers take besides comes on top, about twice it. */
const YOUNG_BYTES = 8 * 1024 ** 2;
/** Growth since all objects were last collected after which all are collected again. */
const ALL_BYTES = 48 * 1024 ** 2;

/** What is needed of the JavaScript engine's heap. */
export interface Heap {
  sizeBytes(): number;
  collectYoung(): void;
  collectAll(): void;
}

/**
 * Collects garbage by how much of it there is. Left to itself, the engine counts the shared memory of the entries as
 * part of the heap, and lets garbage grow in proportion to it: with a cache of 6 GiB, by gigabytes.
 */
export class HeapKeeper {
  private readonly timer: ReturnType<typeof setInterval>;
  private afterYoung: number;
  private afterAll: number;

  constructor(private readonly heap: Heap) {
    this.afterAll = heap.sizeBytes();
    this.afterYoung = this.afterAll;
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.timer.unref();
  }

  /** Collects if it is time to. */
  look(): void {
    const size = this.heap.sizeBytes();
    if (size - this.afterYoung < YOUNG_BYTES) {
      this.afterYoung = Math.min(this.afterYoung, size);
      return;
    }
    this.heap.collectYoung();
    this.afterYoung = this.heap.sizeBytes();
    if (this.afterYoung - this.afterAll < ALL_BYTES) return;
    this.heap.collectAll();
    this.afterAll = this.heap.sizeBytes();
    this.afterYoung = this.afterAll;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
