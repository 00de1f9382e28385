/**
 * Room on the disk that is kept for the way out of a full one: what is done can't be removed from the outbox without
 * writing, so when nothing more fits, this file goes, and nothing is appended until there is room for it again.
 */
import { existsSync, rmSync, writeFileSync } from "node:fs";

const SIZE_BYTES = 4 * 1024 * 1024;

export class Ballast {
  constructor(private readonly path: string) {}

  /** False = there is no room for it. */
  raise(): boolean {
    if (existsSync(this.path)) return true;
    try {
      // Written, not only sized: a file with holes takes no room.
      writeFileSync(this.path, Buffer.alloc(SIZE_BYTES), { mode: 0o600 });
      return true;
    } catch {
      this.drop();
      return false;
    }
  }

  drop(): void {
    rmSync(this.path, { force: true });
  }
}
