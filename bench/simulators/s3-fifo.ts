import { IdList } from "./id-list.ts";
import { at, type Policy, type PolicyFactory, type Requests } from "./policy.ts";

export interface S3FifoOptions {
  /** The small queue's share of the capacity. */
  readonly smallShare: number;
  /** How often an item must have been hit in the small queue to move to the main queue. */
  readonly promoteAtHits: number;
  /** The hit counter stops here. */
  readonly maxHits: number;
  /** The ghost queue's length, as a multiple of the main queue's. */
  readonly ghostShare: number;
}

/** As in the paper; the numbers with which the reference table of the traces comes out. */
const TEXTBOOK: S3FifoOptions = { smallShare: 0.1, promoteAtHits: 2, maxHits: 3, ghostShare: 1 };

/**
 * S3-FIFO (SOSP '23): new items enter a small FIFO queue; what was hit there moves to the main queue with its counter
 * at 0, the rest leaves and is remembered in a ghost queue; what comes back while it is remembered enters the main
 * queue. The main queue gives an item one more round for each hit counted.
 *
 * Details that papers leave open and that the reference table fixes (to 0.0007 at worst): the small queue is evicted
 * from when it has *reached* its share (rounded down); a ghost stays in its place when its key comes back.
 */
export const s3Fifo: PolicyFactory = s3FifoWith(TEXTBOOK);

export function s3FifoWith(changes: Partial<S3FifoOptions>): PolicyFactory {
  const options = { ...TEXTBOOK, ...changes };
  return (capacity, requests) => new S3Fifo(capacity, requests, options);
}

class S3Fifo implements Policy {
  readonly name = "S3-FIFO";
  readonly #small: IdList;
  readonly #main: IdList;
  readonly #ghost: IdList;
  readonly #hits: Uint8Array;
  readonly #smallLimit: number;
  readonly #ghostLimit: number;

  constructor(
    readonly capacity: number,
    { distinct }: Requests,
    readonly options: S3FifoOptions,
  ) {
    this.#small = new IdList(distinct);
    this.#main = new IdList(distinct);
    this.#ghost = new IdList(distinct);
    this.#hits = new Uint8Array(distinct);
    this.#smallLimit = Math.max(1, Math.floor(capacity * options.smallShare));
    this.#ghostLimit = Math.floor((capacity - this.#smallLimit) * options.ghostShare);
  }

  request(key: number): boolean {
    if (this.#small.has(key) || this.#main.has(key)) {
      this.#hits[key] = Math.min(at(this.#hits, key) + 1, this.options.maxHits);
      return true;
    }
    while (this.#small.size + this.#main.size >= this.capacity) this.#evict();
    this.#hits[key] = 0;
    if (this.#ghost.has(key)) this.#main.pushFront(key);
    else this.#small.pushFront(key);
    return false;
  }

  #evict(): void {
    if (this.#small.size >= this.#smallLimit || this.#main.size === 0) this.#evictFromSmall();
    else this.#evictFromMain();
  }

  /** Goes on until one item has left, or the small queue is empty because all moved to the main queue. */
  #evictFromSmall(): void {
    while (this.#small.size > 0) {
      const key = this.#small.popBack();
      if (at(this.#hits, key) < this.options.promoteAtHits) {
        this.#remember(key);
        return;
      }
      this.#hits[key] = 0;
      this.#main.pushFront(key);
    }
  }

  #evictFromMain(): void {
    while (this.#main.size > 0) {
      const key = this.#main.popBack();
      const hits = at(this.#hits, key);
      if (hits === 0) return;
      this.#hits[key] = hits - 1;
      this.#main.pushFront(key);
    }
  }

  #remember(key: number): void {
    if (this.#ghost.has(key)) this.#ghost.remove(key);
    this.#ghost.pushFront(key);
    if (this.#ghost.size > this.#ghostLimit) this.#ghost.popBack();
  }
}
