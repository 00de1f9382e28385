/**
 * The folder that belongs to one running node. The lock is an exclusive transaction on an empty SQLite file, held for as
 * long as the process lives: the kernel drops it with the process, however that ends, so nothing is ever cleaned by hand.
 */

import { Database } from "bun:sqlite";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../runtime/error-message.ts";
import { DataDirectoryInUseError, OutboxOpenError } from "./outbox-errors.ts";

export class DataDirectory implements Disposable {
  private constructor(
    readonly path: string,
    private readonly lock: Database,
  ) {}

  /**
   * Makes the folder where there is none, and locks it.
   * Throws `DataDirectoryInUseError` where another node holds it, `OutboxOpenError` where it can't be written.
   */
  static open(path: string): DataDirectory {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new OutboxOpenError(`SERV_CACHE_DATA_DIR ${path} can't be made: ${messageOf(error)}`, { cause: error });
    }
    const lock = lockFile(path);
    writeHolder(path);
    return new DataDirectory(path, lock);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    this.lock.close();
  }
}

function lockFile(path: string): Database {
  let lock: Database | null = null;
  try {
    lock = new Database(join(path, "lock"), { create: true });
    lock.run("PRAGMA busy_timeout = 0");
    lock.run("PRAGMA locking_mode = EXCLUSIVE");
    lock.run("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (isBusy(error)) {
      throw new DataDirectoryInUseError(
        `SERV_CACHE_DATA_DIR ${path} is in use by another node (pid ${holder(path)}); give this one a directory of its own`,
      );
    }
    throw new OutboxOpenError(
      `SERV_CACHE_DATA_DIR ${path} can't be locked: ${messageOf(error)}; it must be a local directory that this user may write, on a disk with room`,
      { cause: error },
    );
  }
}

function isBusy(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : null;
  return typeof code === "string" && /^SQLITE_(BUSY|LOCKED)/.test(code);
}

/** Only for the message of another node: a full disk is no reason not to start. */
function writeHolder(path: string): void {
  try {
    writeFileSync(join(path, "pid"), String(process.pid));
  } catch {
    rmSync(join(path, "pid"), { force: true });
  }
}

/** Whose pid the holder wrote down. */
function holder(path: string): string {
  try {
    return readFileSync(join(path, "pid"), "utf8");
  } catch {
    return "unknown";
  }
}
