/** What the bytes are for. */
export enum InFlight {
  /** Bodies of requests that arrive, and requests that wait for an answer. */
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

/** What large takers leave to small ones: a client with much to say can't silence those with little. */
const KEPT_FOR_SMALL_SHARE = 0.125;
const SMALL_BYTES = 64 * 1024;
const TIGHT_SHARE = 0.75;
/** Beyond it, nothing is copied that can be read again. */
const COPIES_SHARE = 0.25;

/**
 * How many bytes may be in flight in the node at one time, over all its threads. Who holds memory that grows with what
 * clients, databases or peers send takes its size here first, and gives it back with the memory.
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

  /** Little is left: who holds bytes has to be quick. */
  get isTight(): boolean {
    return this.usedBytes >= this.limitBytes * TIGHT_SHARE;
  }

  /** Whether there is so much room that bytes may be copied which could be read again, at the risk that they are gone. */
  hasRoomForCopy(bytes: number): boolean {
    return bytes <= SMALL_BYTES || this.usedBytes + bytes <= this.limitBytes * COPIES_SHARE;
  }

  /** False = there is no room, and nothing was taken. */
  take(use: InFlight, bytes: number): boolean {
    const keptBytes = bytes > SMALL_BYTES ? this.limitBytes * KEPT_FOR_SMALL_SHARE : 0;
    return this.takeAndLeave(use, bytes, keptBytes);
  }

  /** As `take`, where so many bytes are left for others after it. */
  takeAndLeave(use: InFlight, bytes: number, leftBytes: number): boolean {
    if (Atomics.add(this.words, USED, bytes) + bytes > this.limitBytes - leftBytes) {
      Atomics.sub(this.words, USED, bytes);
      Atomics.add(this.words, REFUSED, 1);
      return false;
    }
    Atomics.add(this.words, FIRST_USE + use, bytes);
    return true;
  }

  /** Counts bytes that are held already and can't be refused any more. */
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

  /** Bytes in flight by use, under the name of the use. */
  byUse(): readonly (readonly [string, number])[] {
    return USES.map(([use, name]) => [name, this.usedFor(use)]);
  }

  /** How often there was no room. */
  get refusals(): number {
    return Atomics.load(this.words, REFUSED) >>> 0;
  }
}
