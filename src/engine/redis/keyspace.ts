import type { Redis } from "ioredis";
import type { KeyPattern } from "../../model/matcher.ts";
import type { Stamp } from "../../model/stamp.ts";
import { EngineUnavailableError, InvalidCursorError, type ScanPage, type ScanRequest } from "../engine.ts";
import type { RedisClient } from "./client.ts";
import { toMatchPattern } from "./match-pattern.ts";
import type { Names } from "./names.ts";
import { RAISE_FLOOR, REMOVE_UNLESS_NEWER } from "./scripts.ts";

/** Buckets visited by one SCAN of a deletion: well under a millisecond of the server's time. */
const DELETE_SCAN_COUNT = 500;
/** The most SCANs for one page of a listing. */
const MAX_SCANS_PER_PAGE = 100;
/** The most passes of a deletion while slots move. */
const MAX_PASSES = 5;
/** The `Retry-After` of a deletion that gave up. */
const RETRY_AFTER_MS = 1000;
/** Scripts in flight at a time. */
const SCRIPT_BATCH = 256;

/** Operations on many keys: listing them, and deleting them in bounded batches. */
export class Keyspace {
  readonly #client: RedisClient;
  readonly #names: Names;
  readonly #versioned: boolean;

  constructor(client: RedisClient, names: Names, versioned: boolean) {
    this.#client = client;
    this.#names = names;
    this.#versioned = versioned;
  }

  /**
   * Returns one page, from the primaries one after the other. A cursor names the primary, Redis' own cursor there, and
   * the last key returned if a page ended between the keys of one SCAN.
   */
  async scan({ pattern, cursor, limit }: ScanRequest): Promise<ScanPage> {
    const primaries = this.#client.primaries();
    let position = this.#parseCursor(cursor, primaries);
    const keys: string[] = [];
    let count = Math.max(1, Math.min(1000, limit));
    for (let scans = 0; scans < MAX_SCANS_PER_PAGE; scans++) {
      const primary = primaries[position.index];
      if (primary === undefined) return { keys, cursor: null };
      if (keys.length >= limit) break;
      const step = await this.#scanOnce(primary, position.redisCursor, pattern, position.after === "" ? count : 1);
      const found = step.names.flatMap((name) => this.#names.keyOf(name) ?? []);
      const unseen = position.after === "" ? found : found.sort().filter((key) => key > position.after);
      const room = limit - keys.length;
      if (unseen.length > room) {
        if (keys.length > 0) break;
        if (count > 1 && position.after === "") {
          count = Math.max(1, Math.floor(count / 4));
          continue;
        }
        keys.push(...unseen.sort().slice(0, room));
        position = { ...position, after: keys[keys.length - 1] ?? "" };
        break;
      }
      keys.push(...unseen);
      const isLast = step.next === "0";
      position = isLast
        ? { index: position.index + 1, redisCursor: "0", after: "" }
        : { index: position.index, redisCursor: step.next, after: "" };
    }
    const primary = primaries[position.index];
    return { keys, cursor: primary === undefined ? null : this.#formatCursor(primary, position) };
  }

  /** Deletes every key that matched when the call arrived. Resolves with the number of keys that it removed. */
  async deleteMatching(pattern: KeyPattern | null, stamp: Stamp): Promise<number> {
    let deleted = 0;
    for (let pass = 1; pass <= MAX_PASSES; pass++) {
      const layout = this.#client.layout();
      const wasMigrating = await this.#isMigrating();
      for (const primary of this.#client.primaries()) deleted += await this.#deleteOn(primary, pattern, stamp);
      // Otherwise a key may have moved from a primary not yet scanned to one already scanned, and was missed.
      if (!wasMigrating && layout === this.#client.layout() && !(await this.#isMigrating())) return deleted;
    }
    throw new EngineUnavailableError(
      `slots of the Redis cluster moved during each of ${MAX_PASSES} passes, so that keys may have been missed: ` +
        "repeat the delete when the move is over",
      RETRY_AFTER_MS,
    );
  }

  async clear(stamp: Stamp): Promise<number> {
    if (this.#versioned) {
      const version = [String(stamp.version), String(stamp.nodeId), ""];
      await inBatches(this.#names.allFloors(), (floor) =>
        this.#client.insist(true, () => this.#client.run(RAISE_FLOOR, [floor], version)),
      );
      return this.deleteMatching(null, stamp);
    }
    if (this.#names.prefix !== "") return this.deleteMatching(null, stamp);
    const counts = await Promise.all(this.#client.primaries().map((primary) => this.#flush(primary)));
    return counts.reduce((total, count) => total + count, 0);
  }

  async #flush(primary: Redis): Promise<number> {
    const size = this.#client.sendTo(primary, "dbsize", []);
    const flushed = this.#client.sendTo(primary, "flushdb", ["ASYNC"]);
    flushed.catch(() => {});
    const count = Number(await size);
    await flushed;
    return count;
  }

  async #deleteOn(primary: Redis, pattern: KeyPattern | null, stamp: Stamp): Promise<number> {
    let deleted = 0;
    let cursor = "0";
    do {
      const step = await this.#scanOnce(primary, cursor, pattern, DELETE_SCAN_COUNT);
      if (step.names.length > 0) deleted += await this.#remove(primary, step.names, stamp);
      cursor = step.next;
    } while (cursor !== "0");
    return deleted;
  }

  async #remove(primary: Redis, names: Buffer[], stamp: Stamp): Promise<number> {
    if (this.#versioned) {
      const args = [String(stamp.version), String(stamp.nodeId), ""];
      const counts = await inBatches(names, (name) =>
        this.#client.insist(true, () => this.#client.run(REMOVE_UNLESS_NEWER, [name.toString()], args)),
      );
      return total(counts);
    }
    // In a cluster a command accepts keys of one slot only, and a key may have moved since it was found.
    if (this.#client.isCluster) {
      const remove = (name: Buffer) => this.#client.insist(false, () => this.#client.send("unlink", [name]));
      return total(await inBatches(names, remove));
    }
    return Number(await this.#client.sendTo(primary, "unlink", names));
  }

  async #scanOnce(primary: Redis, cursor: string, pattern: KeyPattern | null, count: number) {
    const match = toMatchPattern(this.#names.prefix, pattern?.text ?? null);
    const args = [cursor, "MATCH", match, "COUNT", String(count), "TYPE", "string"];
    const reply = await this.#client.sendTo(primary, "scan", args);
    if (!Array.isArray(reply)) throw new TypeError("SCAN gave no array");
    const [next, found]: unknown[] = reply;
    const names: Buffer[] = [];
    for (const name of Array.isArray(found) ? found : []) {
      if (!Buffer.isBuffer(name)) continue;
      const start = this.#names.keyStart(name);
      if (start >= 0 && (pattern === null || pattern.matches(name, start, name.length))) names.push(name);
    }
    return { next: String(next), names };
  }

  async #isMigrating(): Promise<boolean> {
    if (!this.#client.isCluster) return false;
    const reports = await Promise.all(
      this.#client.primaries().map((primary) => this.#client.sendTo(primary, "cluster", ["NODES"])),
    );
    return reports.some((report) => /\[\d+-[<>]-/.test(String(report)));
  }

  #parseCursor(cursor: string | null, primaries: readonly Redis[]) {
    if (cursor === null) return { index: 0, redisCursor: "0", after: "" };
    const [, name = "", redisCursor = "", after = ""] = /^([^|]+)\|(\d{1,20})\|([\w-]*)$/.exec(cursor) ?? [];
    const index = primaries.findIndex((primary) => this.#client.nameOfPrimary(primary) === name);
    if (index < 0) throw new InvalidCursorError(cursor);
    return { index, redisCursor, after: Buffer.from(after, "base64url").toString() };
  }

  #formatCursor(primary: Redis, position: { redisCursor: string; after: string }): string {
    const after = Buffer.from(position.after).toString("base64url");
    return `${this.#client.nameOfPrimary(primary)}|${position.redisCursor}|${after}`;
  }
}

async function inBatches<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<unknown[]> {
  const results: unknown[] = [];
  for (let at = 0; at < items.length; at += SCRIPT_BATCH) {
    results.push(...(await Promise.all(items.slice(at, at + SCRIPT_BATCH).map(run))));
  }
  return results;
}

function total(counts: readonly unknown[]): number {
  return counts.reduce<number>((sum, count) => sum + Number(count), 0);
}
