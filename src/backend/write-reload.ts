/**
 * After a write has reached the database, its entry becomes what the database gives for the key: columns that the query
 * leaves out, defaults, what a trigger or a service made of it (`SERV_CACHE_WRITE_RELOAD`).
 *
 * What is newer than the write stays as it is. Where nothing can be loaded, the entry goes, and the next read loads it.
 */

import type { Filler } from "../cache/filler.ts";
import type { Condition } from "../engine/engine.ts";
import { type CacheValue, isSameValue, NEVER } from "../model/entry.ts";
import type { PutMutation } from "../model/mutation.ts";
import { FILL_NODE_ID, type Stamp, type Version } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { FillSink, Kept, ReadThrough } from "./read-through.ts";

export interface WriteReloadOptions {
  readonly readThrough: Pick<ReadThrough, "reload">;
  readonly filler: Filler;
  /** What the engine has of a key; null = nothing. Never rejects. */
  readonly look: (key: string) => Awaitable<Kept | null>;
  /** The write of the key that waits for the database; null = none does. */
  readonly waiting: (key: string) => { readonly stamp: Stamp } | null;
  /** The version of a fill of now. Called before it is filled, so that mutations that it did not see can undo it. */
  readonly fillVersion: (key: string, seen: Version) => Version;
  /** Of what is loaded: it wins over its write, however late that comes. */
  readonly nodeId: number;
  /** The database has it, with this version. */
  readonly onLoaded: (key: string, value: CacheValue, expiresAtMs: number, version: Version) => void;
  readonly nowMs: () => number;
  /** How late a thread may be with a mutation that was recorded, in ms. */
  readonly lateMs: number;
}

/** Of a load that others' mutations make worthless, and of a fill that touches are faster than. */
const TRIES = 5;

export class WriteReload {
  constructor(private readonly options: WriteReloadOptions) {}

  /** To be called when the database has the write, or something newer. Settles when the cache has what was loaded. */
  async after(write: PutMutation): Promise<void> {
    const { key } = write;
    let isTold = false;
    const sink: FillSink = {
      fill: (_key, value) => {
        isTold = true;
        return this.#replace(write, value);
      },
      absent: () => {
        isTold = true;
        return this.#remove(write);
      },
    };
    for (let tries = 0; tries < TRIES; tries++) {
      // A newer write is loaded when the database has it.
      if (this.#isOvertaken(write)) return;
      const { kind } = await this.options.readThrough.reload(key, sink);
      if (isTold) return;
      if (kind === "failed") break;
    }
    if (!this.#isOvertaken(write)) await this.#remove(write);
  }

  #isOvertaken({ key, stamp }: PutMutation): boolean {
    const waiting = this.options.waiting(key);
    return waiting !== null && waiting.stamp.version > stamp.version;
  }

  async #replace(write: PutMutation, value: CacheValue): Promise<void> {
    const { filler, look, fillVersion, nodeId, nowMs, onLoaded } = this.options;
    const { key, stamp } = write;
    for (let tries = 0; tries < TRIES; tries++) {
      const version = fillVersion(key, stamp.version);
      const asked = look(key);
      const kept = asked instanceof Promise ? await asked : asked;
      if (isNewer(kept, write) || this.#isOvertaken(write)) return;
      // A touch may have given it another expiry.
      const expiresAtMs = kept !== null && isOf(kept, write) ? kept.expiresAtMs : write.expiresAtMs;
      if (expiresAtMs !== NEVER && expiresAtMs <= nowMs()) return;
      const condition: Condition =
        kept === null ? { kind: "absent" } : { kind: "revision-in", revisions: [kept.version] };
      onLoaded(key, value, expiresAtMs, version);
      if (await filler.fill(key, value, expiresAtMs, { version, nodeId }, condition)) return;
    }
    await this.#remove(write);
  }

  /** The entry of the write goes, and does not come where its thread is late. */
  async #remove(write: PutMutation): Promise<void> {
    const { filler, look, nowMs, lateMs } = this.options;
    const asked = look(write.key);
    const kept = asked instanceof Promise ? await asked : asked;
    if (isNewer(kept, write)) return;
    const version = Math.max(write.stamp.version, kept?.version ?? 0) + 1;
    await filler.absent(write.key, { version: version as Version, nodeId: FILL_NODE_ID }, nowMs() + lateMs);
  }
}

/** Whether an entry is of a mutation that the write knows nothing of. */
function isNewer(kept: Kept | null, write: PutMutation): boolean {
  return kept !== null && kept.version > write.stamp.version && !isOf(kept, write);
}

/** Whether an entry is the write's own, touched or copied from the outbox since. */
function isOf({ value }: Kept, write: PutMutation): boolean {
  return isSameValue(value, write.value);
}
