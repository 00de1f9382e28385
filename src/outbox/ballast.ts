/**
 * Room on the disk that is kept for the way out of a full one: what is done can't be removed from the outbox without
 * writing, so when nothing more fits, this file goes, and nothing is appended until there is room for it again.
 */
import { randomFillSync } from "node:crypto";
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from "node:fs";

const SIZE_BYTES = 4 * 1024 * 1024;
/** The unit of `Stats.blocks`, whatever the file system's own is. */
const BLOCK_BYTES = 512;

export class Ballast {
  constructor(private readonly path: string) {}

  /** False = there is no room for it. */
  raise(): boolean {
    if (this.#isThere()) return true;
    try {
      const descriptor = openSync(this.path, "w", 0o600);
      try {
        // Random, for a file system may compress; synced, for it may promise room that it does not have.
        const bytes = randomFillSync(Buffer.allocUnsafeSlow(SIZE_BYTES));
        for (let at = 0; at < SIZE_BYTES; ) at += writeSync(descriptor, bytes, at);
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
      return true;
    } catch {
      this.drop();
      return false;
    }
  }

  drop(): void {
    rmSync(this.path, { force: true });
  }

  /** Whole, and on the disk: a process that was killed may have left a part of it, or a copy made a file of holes. */
  #isThere(): boolean {
    const found = statSync(this.path, { throwIfNoEntry: false });
    return found !== undefined && found.size === SIZE_BYTES && found.blocks * BLOCK_BYTES >= SIZE_BYTES;
  }
}
