/** Counts of what waits, per destination, so that nobody counts rows. */
export interface Counts {
  readonly pending: number;
  readonly dead: number;
  readonly bytes: number;
}

const NONE: Counts = { pending: 0, dead: 0, bytes: 0 };

export class QueueCounts {
  readonly #counts = new Map<string, { pending: number; dead: number; bytes: number }>();
  #bytes = 0;
  #entries = 0;

  constructor(totals: Iterable<Counts & { readonly destination: string }>) {
    for (const { destination, pending, dead, bytes } of totals) this.add(destination, { pending, dead, bytes });
  }

  /** Bytes of all destinations. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Entries of all destinations, dead letters included. */
  get entries(): number {
    return this.#entries;
  }

  of(destination: string): Counts {
    return this.#counts.get(destination) ?? NONE;
  }

  destinations(): string[] {
    return [...this.#counts.keys()];
  }

  add(destination: string, change: Partial<Counts>): void {
    let counts = this.#counts.get(destination);
    if (counts === undefined) {
      counts = { ...NONE };
      this.#counts.set(destination, counts);
    }
    const { pending: morePending = 0, dead: moreDead = 0, bytes: moreBytes = 0 } = change;
    counts.pending += morePending;
    counts.dead += moreDead;
    counts.bytes += moreBytes;
    this.#bytes += moreBytes;
    this.#entries += morePending + moreDead;
  }

  /** A copy to be changed during a transaction. */
  fork(): QueueCounts {
    return new QueueCounts([...this.#counts].map(([destination, counts]) => ({ destination, ...counts })));
  }

  /** Takes over a copy whose transaction is done. */
  adopt(other: QueueCounts): void {
    this.#counts.clear();
    for (const [destination, counts] of other.#counts) this.#counts.set(destination, counts);
    this.#bytes = other.#bytes;
    this.#entries = other.#entries;
  }
}
