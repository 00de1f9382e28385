import type { EntryInfo, Key, LateReader } from "../engine.ts";

/** Who hears how reads turn out. */
interface Guard {
  readSucceeded(): void;
  readFailed(error: unknown, key: Key, reader: LateReader): void;
  readIsOver(read: GuardedRead): void;
}

/** Stands between a reader and Redis, so that the guard hears of failures first. Used again. */
export class GuardedRead implements LateReader {
  key: Key | null = null;
  reader: LateReader | null = null;
  readonly #guard: Guard;

  constructor(guard: Guard) {
    this.#guard = guard;
  }

  get target(): Buffer {
    return this.#current().target;
  }

  get offset(): number {
    return this.#current().offset;
  }

  begin(entry: EntryInfo): boolean {
    return this.#current().begin(entry);
  }

  found(): void {
    this.#guard.readSucceeded();
    this.#release().found();
  }

  missed(): void {
    this.#guard.readSucceeded();
    this.#release().missed();
  }

  failed(error: unknown): void {
    const { key } = this;
    const reader = this.#release();
    if (key === null) reader.failed(error);
    else this.#guard.readFailed(error, key, reader);
  }

  #current(): LateReader {
    if (this.reader === null) throw new Error("a read goes on after its end");
    return this.reader;
  }

  /** Before the reader is told: it may read again at once. */
  #release(): LateReader {
    const reader = this.#current();
    this.reader = null;
    this.#guard.readIsOver(this);
    return reader;
  }
}
