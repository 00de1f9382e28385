import { MAX_CONTENT_TYPE_BYTES, MAX_VALUE_BYTES, NEVER } from "../../model/entry.ts";
import type { Key } from "../../model/key.ts";
import type { KeyPattern } from "../../model/matcher.ts";
import { isNewer, type Stamp } from "../../model/stamp.ts";
import type {
  Condition,
  DeleteOutcome,
  DeleteRequest,
  Engine,
  EngineHealth,
  EngineStats,
  EntrySink,
  IncrementOutcome,
  IncrementRequest,
  LateReader,
  PutOutcome,
  PutRequest,
  ScanPage,
  ScanRequest,
  TouchOutcome,
  TouchRequest,
} from "../engine.ts";
import { BatchedReads } from "./batched-reads.ts";
import type { RedisClient } from "./client.ts";
import { Counters, makeCounters } from "./counters.ts";
import { classify } from "./errors.ts";
import { deliver, type Fetched, fetchedFrom, type Reading, tooLarge } from "./fetched.ts";
import { Keyspace } from "./keyspace.ts";
import type { Names } from "./names.ts";
import { DELETE, INCREMENT, MAX_TOGETHER_BYTES, PUT, type ServerScript, TOUCH } from "./scripts.ts";
import { readServerStats, type ServerStats } from "./server-stats.ts";
import { decodeStored, decodeTombstone, encodeStored, HEADER_BYTES } from "./stored-form.ts";

interface RemoteOptions {
  readonly versioned: boolean;
  readonly clock: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

const MAX_STORED_BYTES = HEADER_BYTES + MAX_CONTENT_TYPE_BYTES + MAX_VALUE_BYTES;

/** The most attempts of a conditional mutation while other clients change the entry in between. */
const MAX_ATTEMPTS = 32;

/**
 * The engine on Redis alone: every call is one round trip (two for conditions on revisions), and fails when Redis does.
 * `GuardedEngine` decides what follows.
 */
export class RemoteEngine implements Engine {
  readonly name = "redis";
  readonly answersAtOnce = false;
  readonly refusesForgotten = false;
  readonly #client: RedisClient;
  readonly #names: Names;
  readonly #options: RemoteOptions;
  readonly #keyspace: Keyspace;
  readonly #counts: Counters;
  readonly #startMs: number;
  readonly #batched: BatchedReads;
  #atStart: ServerStats | null = null;
  #servers: ServerStats | null = null;

  constructor(client: RedisClient, names: Names, options: RemoteOptions, counters = new Counters(makeCounters(1), 0)) {
    this.#client = client;
    this.#names = names;
    this.#options = options;
    this.#keyspace = new Keyspace(client, names, options.versioned);
    this.#startMs = options.clock();
    this.#counts = counters;
    this.#batched = new BatchedReads({
      client,
      prefix: names.prefix,
      clock: options.clock,
      onRead: (reader, stored, pttlMs, sentAtMs) => {
        this.#tell(reader, this.#counted(stored === null ? null : fetchedFrom({ stored, pttlMs }, sentAtMs)));
      },
      readAlone: (key, reader) => void this.#getAlone(key, reader),
    });
  }

  async get(key: Key, sink: EntrySink): Promise<boolean> {
    return deliver(await this.fetch(this.#names.ofEntry(key)), sink);
  }

  async peek(key: Key, sink: EntrySink): Promise<boolean> {
    const sentAtMs = this.#options.clock();
    return deliver(fetchedFrom(await this.#read(this.#names.ofEntry(key)), sentAtMs), sink);
  }

  async stampOf(key: Key): Promise<Stamp | null> {
    const name = this.#names.ofEntry(key);
    const reading = this.#read(name);
    const tombstone = this.#client.insist(true, () => this.#client.send("get", [this.#names.tombstoneOf(name)]));
    tombstone.catch(ignore);
    // A value of another type is not an entry, and a put overwrites it.
    const found = await reading.catch((error: unknown) => {
      if (classify(error) === "wrong-type") return null;
      throw error;
    });
    const kept = await tombstone;
    const deleted = decodeTombstone(Buffer.isBuffer(kept) ? kept : null);
    const stamp = found === null ? null : decodeStored(found.stored).stamp;
    if (stamp === null || deleted === null) return stamp ?? deleted;
    return isNewer(deleted, stamp) ? deleted : stamp;
  }

  getLater(key: Key, reader: LateReader): boolean {
    return this.#batched.add(key, reader);
  }

  /** Never rejects: the reader is told about failures. */
  async #getAlone(key: Key, reader: LateReader): Promise<void> {
    try {
      this.#tell(reader, await this.fetch(this.#names.ofEntry(key)));
    } catch (error) {
      reader.failed(error);
    }
  }

  #tell(reader: LateReader, fetched: Fetched | null): void {
    reader.done(deliver(fetched, reader));
  }

  /** Reads and counts. The returned expiry is never later than that in Redis. */
  async fetch(name: string): Promise<Fetched | null> {
    const sentAtMs = this.#options.clock();
    return this.#counted(fetchedFrom(await this.#read(name), sentAtMs));
  }

  #counted(fetched: Fetched | null): Fetched | null {
    this.#counts.add(fetched === null ? "misses" : "hits");
    return fetched;
  }

  /**
   * Null if there is no entry; another type is an error. The rest of a long value is read separately, when its length
   * is known, so that a value that is too long for an entry is never transferred.
   */
  #read(name: string): Promise<Reading | null> {
    return this.#client.insist(true, async () => {
      const reading = this.#client.send("getrange", [name, "0", String(MAX_TOGETHER_BYTES)]);
      const remaining = this.#client.send("pttl", [name]);
      // Awaited second, so its rejection must not count as unhandled if both fail.
      remaining.catch(ignore);
      const head = await headOf(reading);
      const pttlMs = await remaining;
      if (pttlMs === NO_ENTRY && head !== UNREADABLE) return null;
      if (typeof pttlMs !== "number") throw unexpected(pttlMs);
      // An empty head may also be an entry that was stored between the two commands.
      const isWhole = head.length > 0 && head.length <= MAX_TOGETHER_BYTES;
      const stored = isWhole ? head : await this.#readLong(name);
      return stored === null ? null : { stored, pttlMs };
    });
  }

  async #readLong(name: string): Promise<Buffer | null> {
    const bytes = Number(await this.#client.send("strlen", [name]));
    if (bytes > MAX_STORED_BYTES) {
      throw tooLarge(bytes);
    }
    const stored = await this.#client.send("get", [name], bytes);
    if (stored !== null && !Buffer.isBuffer(stored)) throw unexpected(stored);
    return stored;
  }

  countNearHit(): void {
    this.#counts.add("hits");
  }

  async put(request: PutRequest): Promise<PutOutcome> {
    const { key, source, start, end, attributes, condition } = request;
    const name = this.#names.ofEntry(key);
    const mark = this.#options.versioned ? request.stamp : this.#revision();
    const stored = encodeStored(source, start, end, attributes, mark);
    const ttl = this.#ttl(request.expiresAtMs);
    const outcome = this.#isPlainSet(condition)
      ? await this.#set(name, stored, ttl, condition)
      : await this.#mutate(PUT, name, request.stamp, condition, [stored, ttl]);
    if (outcome !== "stored" && outcome !== "superseded" && outcome !== "condition-failed") throw unexpected(outcome);
    if (outcome === "stored") this.#counts.add("sets");
    return outcome;
  }

  async delete(request: DeleteRequest): Promise<DeleteOutcome> {
    const name = this.#names.ofEntry(request.key);
    const outcome =
      !this.#options.versioned && request.condition === null
        ? (await this.#client.insist(false, () => this.#client.send("unlink", [name]))) === 1
          ? "deleted"
          : "absent"
        : await this.#mutate(DELETE, name, request.stamp, request.condition, [this.#ttl(request.tombstoneUntilMs)]);
    if (outcome === "deleted") this.#counts.add("deletes");
    if (outcome === "deleted" || outcome === "absent") return outcome;
    if (outcome === "superseded" || outcome === "condition-failed") return outcome;
    throw unexpected(outcome);
  }

  async touch(request: TouchRequest): Promise<TouchOutcome> {
    const name = this.#names.ofEntry(request.key);
    const ttl = this.#ttl(request.expiresAtMs);
    const { seen, condition } = request;
    const seenArgs = seen === null ? ["", ""] : [String(seen.version), String(seen.nodeId)];
    const outcome = await this.#mutate(TOUCH, name, null, condition, [ttl, ...seenArgs]);
    if (outcome === "touched" || outcome === "absent" || outcome === "condition-failed") return outcome;
    throw unexpected(outcome);
  }

  async increment(request: IncrementRequest): Promise<IncrementOutcome> {
    const name = this.#names.ofEntry(request.key);
    const args = [String(request.delta), this.#ttl(request.expiresAtMsIfNew)];
    const outcome = await this.#mutate(INCREMENT, name, request.stamp, request.condition, args);
    switch (outcome) {
      case "not-an-integer":
      case "out-of-range":
      case "superseded":
      case "condition-failed":
        return { kind: outcome };
    }
    const value = Number(outcome.slice(1));
    if (!/^=-?\d+$/.test(outcome) || !Number.isSafeInteger(value)) throw unexpected(outcome);
    this.#counts.add("sets");
    return { kind: "incremented", value };
  }

  scan(request: ScanRequest): Promise<ScanPage> {
    return this.#keyspace.scan(request);
  }

  async deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    const deleted = await this.#keyspace.deleteMatching(pattern, stamp);
    this.#counts.add("deletes", deleted);
    return deleted;
  }

  async clear(stamp: Stamp): Promise<number> {
    const deleted = await this.#keyspace.clear(stamp);
    this.#counts.add("deletes", deleted);
    return deleted;
  }

  /** While Redis is away, the servers' counts are those of the last success. */
  async stats(): Promise<EngineStats> {
    let failure: unknown = null;
    try {
      this.#servers = await readServerStats(this.#client);
      this.#atStart ??= this.#servers;
    } catch (error) {
      failure = error;
    }
    const now = this.#servers;
    if (now === null || (failure !== null && classify(failure) === "other")) throw failure;
    const evictions = this.#sinceStart("evictions");
    return {
      hits: this.#counts.total("hits"),
      misses: this.#counts.total("misses"),
      sets: this.#counts.total("sets"),
      deletes: this.#counts.total("deletes"),
      entries: now.entries,
      usedBytes: now.usedBytes,
      limitBytes: now.limitBytes,
      evictions,
      evictionsByReason: { maxmemory: evictions },
      expirations: this.#sinceStart("expirations"),
    };
  }

  /** Called when Redis answers for the first time: its earlier counts are not those of this node. */
  async startCounting(): Promise<void> {
    this.#servers ??= await readServerStats(this.#client);
    this.#atStart ??= this.#servers;
  }

  /** A restarted server counts from 0 again. */
  #sinceStart(kind: "evictions" | "expirations"): number {
    const now = this.#servers?.[kind] ?? 0;
    const before = this.#atStart?.[kind] ?? 0;
    return now >= before ? now - before : now;
  }

  health(): EngineHealth {
    return { status: "ok", detail: this.#client.problem, sinceMs: this.#startMs };
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #isPlainSet(condition: Condition | null): boolean {
    if (this.#options.versioned) return false;
    return condition === null || condition.kind === "absent" || condition.kind === "present";
  }

  async #set(name: string, stored: Buffer, ttl: string, condition: Condition | null): Promise<PutOutcome> {
    const args: (string | Buffer)[] = [name, stored];
    if (ttl !== "") args.push("PX", ttl);
    if (condition !== null) args.push(condition.kind === "absent" ? "NX" : "XX");
    const reply = await this.#client.insist(false, () => this.#client.send("set", args.slice()));
    return reply === null ? "condition-failed" : "stored";
  }

  /** Runs a mutating script. ETags are compared here, and the script ensures that nothing has changed since. */
  async #mutate(
    script: ServerScript,
    name: string,
    stamp: Stamp | null,
    condition: Condition | null,
    args: (string | Buffer)[],
  ): Promise<string> {
    const versioned = this.#options.versioned && stamp !== null;
    const keys = versioned ? [name, this.#names.tombstoneOf(name), this.#names.floorOf(name)] : [name];
    const stampArgs = versioned ? [String(stamp.version), String(stamp.nodeId)] : ["", String(this.#revision())];
    // A stamp keeps a second, late execution from overwriting newer values; a condition would fail on the result of the
    // first.
    const isRepeatable = versioned && script !== INCREMENT && condition === null;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const expected = await this.#expectation(name, condition);
      if (expected === null) return "condition-failed";
      const reply = await this.#client.insist(isRepeatable, () =>
        this.#client.run(script, keys, [...stampArgs, expected, ...args]),
      );
      const outcome = String(reply);
      if (outcome !== "changed") return outcome;
    }
    return "condition-failed";
  }

  /** The state that the script must find, in the form of `scripts.ts`; null = the condition already fails. */
  async #expectation(name: string, condition: Condition | null): Promise<string | null> {
    if (condition === null) return "";
    if (condition.kind === "absent") return "a";
    if (condition.kind === "present") return "p";
    const found = await this.#read(name);
    if (found === null) return condition.kind === "revision-in" ? null : "0";
    const { stored } = found;
    const isIn = condition.revisions.includes(decodeStored(stored).revision);
    if (isIn !== (condition.kind === "revision-in")) return null;
    return `=${new Bun.CryptoHasher("sha1").update(stored).digest("hex")}`;
  }

  /** 32 random bits for each write, so that two writes of one value have different revisions. */
  #revision(): number {
    return Math.floor(this.#options.random() * 2 ** 32);
  }

  /** The TTL in ms for scripts and SET; "" = none. An entry that has already expired lives for 1 ms. */
  #ttl(expiresAtMs: number): string {
    if (expiresAtMs === NEVER) return "";
    return String(Math.max(1, Math.ceil(expiresAtMs - this.#options.clock())));
  }
}

/** The result of `PTTL` for a missing entry. */
const NO_ENTRY = -2;

const ignore = (): void => {};

/** The first bytes of a value. */
async function headOf(reading: Promise<unknown>): Promise<Buffer> {
  try {
    const head = await reading;
    if (!Buffer.isBuffer(head)) throw unexpected(head);
    return head;
  } catch (error) {
    if (classify(error) === "forbidden") return UNREADABLE;
    throw error;
  }
}

/** The user may not read a part of a value, but perhaps the whole. */
const UNREADABLE = Buffer.alloc(0);

function unexpected(reply: unknown): TypeError {
  return new TypeError(`Redis sent an unexpected reply: ${String(reply)}`);
}
