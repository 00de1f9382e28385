/** The uses of bytes in flight. */
export enum InFlight {
  /** Request bodies, and requests that wait for an answer. */
  Bodies,
  /** Answers that wait to be sent. */
  Answers,
  /** Answers of databases and peers. */
  Upstream,
}

const USES: readonly (readonly [InFlight, string])[] = [
  [InFlight.Bodies, "bodies"],
  [InFlight.Answers, "answers"],
  [InFlight.Upstream, "upstream"],
];

/** Structured-cloneable. */
export interface ByteBudgetHandle {
  readonly words: SharedArrayBuffer;
  readonly limitBytes: number;
}

const USED = 0;
const REFUSED = 1;
/** Followed by one word for each use. */
const FIRST_USE = 2;

/** The share that large takers leave to small ones, so that a few large transfers can't block all small requests. */
const KEPT_FOR_SMALL_SHARE = 0.125;
const SMALL_BYTES = 64 * 1024;
const TIGHT_SHARE = 0.75;
/** Above this share, nothing is copied that can be read again later. */
const COPIES_SHARE = 0.25;

/**
 * The budget for bytes in flight in the node, over all its threads. Code that holds memory whose size clients,
 * databases or peers determine takes the bytes here first, and returns them together with the memory.
 */
export class ByteBudget {
  private readonly words: Int32Array;

  /** @param limitBytes below 2 GiB */
  static create(limitBytes: number): ByteBudget {
    const words = new SharedArrayBuffer((FIRST_USE + USES.length) * Int32Array.BYTES_PER_ELEMENT);
    return new ByteBudget({ words, limitBytes });
  }

  static attach(handle: ByteBudgetHandle): ByteBudget {
    return new ByteBudget(handle);
  }

  private constructor(readonly handle: ByteBudgetHandle) {
    this.words = new Int32Array(handle.words);
  }

  get limitBytes(): number {
    return this.handle.limitBytes;
  }

  get usedBytes(): number {
    return Atomics.load(this.words, USED);
  }

  /** Whether little is left, so that holders must be fast. */
  get isTight(): boolean {
    return this.usedBytes >= this.limitBytes * TIGHT_SHARE;
  }

  /**
   * Whether there is enough room to copy bytes that could be read again later, at the risk that they are gone by then.
   */
  hasRoomForCopy(bytes: number): boolean {
    return bytes <= SMALL_BYTES || this.usedBytes + bytes <= this.limitBytes * COPIES_SHARE;
  }

  /** Takes bytes. False = no room, and nothing was taken. */
  take(use: InFlight, bytes: number): boolean {
    const keptBytes = bytes > SMALL_BYTES ? this.limitBytes * KEPT_FOR_SMALL_SHARE : 0;
    return this.takeAndLeave(use, bytes, keptBytes);
  }

  /** Like `take`, but leaves `leftBytes` to others. */
  takeAndLeave(use: InFlight, bytes: number, leftBytes: number): boolean {
    if (Atomics.add(this.words, USED, bytes) + bytes > this.limitBytes - leftBytes) {
      Atomics.sub(this.words, USED, bytes);
      Atomics.add(this.words, REFUSED, 1);
      return false;
    }
    Atomics.add(this.words, FIRST_USE + use, bytes);
    return true;
  }

  /** Counts bytes that are already held and can't be refused. */
  count(use: InFlight, bytes: number): void {
    Atomics.add(this.words, USED, bytes);
    Atomics.add(this.words, FIRST_USE + use, bytes);
  }

  giveBack(use: InFlight, bytes: number): void {
    Atomics.sub(this.words, USED, bytes);
    Atomics.sub(this.words, FIRST_USE + use, bytes);
  }

  usedFor(use: InFlight): number {
    return Atomics.load(this.words, FIRST_USE + use);
  }

  /** Bytes in flight by the name of their use. */
  byUse(): readonly (readonly [string, number])[] {
    return USES.map(([use, name]) => [name, this.usedFor(use)]);
  }

  /** How often there was no room. */
  get refusals(): number {
    return Atomics.load(this.words, REFUSED) >>> 0;
  }
}
