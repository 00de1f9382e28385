/**
 * How far the outbox had come, beside the database: written after each commit, never synced.
 *
 * SQLite drops the end of a damaged log in silence, because it can't be told from a commit that never came to be. A
 * database that is behind its mark has lost commits that were acknowledged, and that must be said.
 */
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";

const SIZE_BYTES = 16;

export interface Mark {
  readonly commits: number;
  /** Entries that were queued after that commit. */
  readonly entries: number;
}

export class CommitMark {
  readonly #buffer = Buffer.alloc(SIZE_BYTES);

  private constructor(private readonly descriptor: number) {}

  /** Opened for reading and writing at any place; made where there is none, never cut. */
  static open(path: string): CommitMark {
    return new CommitMark(openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600));
  }

  /** Null = none was written: it is the first start, or the file was removed. */
  read(): Mark | null {
    if (readSync(this.descriptor, this.#buffer, 0, SIZE_BYTES, 0) < SIZE_BYTES) return null;
    return { commits: this.#buffer.readDoubleLE(0), entries: this.#buffer.readDoubleLE(8) };
  }

  write(mark: Mark): void {
    this.#buffer.writeDoubleLE(mark.commits, 0);
    this.#buffer.writeDoubleLE(mark.entries, 8);
    try {
      writeSync(this.descriptor, this.#buffer, 0, SIZE_BYTES, 0);
    } catch {
      // The commit is done all the same. A mark that is behind only fails to warn; it never warns of nothing.
    }
  }

  close(): void {
    closeSync(this.descriptor);
  }
}
