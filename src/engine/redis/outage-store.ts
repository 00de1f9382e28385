import {
  type Awaitable,
  type DeleteOutcome,
  type DeleteRequest,
  type Engine,
  type EngineHealth,
  type EngineStats,
  EngineUnavailableError,
  type EntryInfo,
  type EntrySink,
  type IncrementOutcome,
  type IncrementRequest,
  isNewer,
  type Key,
  type KeyPattern,
  NEVER,
  type PutOutcome,
  type PutRequest,
  type ScanPage,
  type ScanRequest,
  type Stamp,
  type TouchOutcome,
  type TouchRequest,
} from "../engine.ts";
import { classify, messageOf } from "./errors.ts";
import { Journal, type JournaledMutation } from "./journal.ts";
import { EVERYTHING, LATEST } from "./latest.ts";
import type { Substitute } from "./resilient-engine.ts";
import { NO_STAMP } from "./stored-form.ts";

interface OutageOptions {
  readonly memory: Engine;
  readonly journalLimitBytes: number;
  readonly clock: () => number;
  readonly log: (message: string) => void;
}

/** Mutations in flight at a time during a replay. */
const REPLAY_BATCH = 128;
/** Longer than the threads of a node can be apart in noticing that Redis is back. */
const REMEMBER_DELETES_MS = 3_600_000;
const RETRY_AFTER_MS = 1000;

/**
 * Takes the calls while Redis is away: this node's memory answers, and a journal keeps what was accepted, in order, for
 * the time when Redis is back. Nothing is accepted that the journal has no room for. The requests that come in own
 * their buffers.
 *
 * Conditions are checked against this memory, which knows only what happened since the outage began.
 */
export class OutageStore implements Substitute {
  readonly name = "redis";
  readonly answersAtOnce = false;
  readonly refusesForgotten = false;
  readonly #memory: Engine;
  readonly #journal: Journal;
  readonly #clock: () => number;
  readonly #log: (message: string) => void;

  constructor({ memory, journalLimitBytes, clock, log }: OutageOptions) {
    this.#log = log;
    this.#memory = memory;
    this.#journal = new Journal(journalLimitBytes);
    this.#clock = clock;
  }

  get(key: Key, sink: EntrySink) {
    return this.#memory.get(key, sink);
  }

  peek(key: Key, sink: EntrySink) {
    return this.#memory.peek(key, sink);
  }

  stampOf(key: Key) {
    return this.#memory.stampOf(key);
  }

  async put(request: PutRequest): Promise<PutOutcome> {
    const mutation = this.#admit({ kind: "put", request: { ...request, condition: null } });
    const outcome = atOnce(this.#memory.put(request));
    if (outcome === "too-large") throw refusal("the value is too large for the memory that stands in for Redis");
    if (outcome === "stored") this.#journal.append(mutation);
    return outcome;
  }

  async delete(request: DeleteRequest): Promise<DeleteOutcome> {
    const mutation = this.#admit({ kind: "delete", request: { ...request, condition: null } });
    // Remembered here in any case, for the replay of another thread's older put.
    const tombstoneUntilMs = Math.max(request.tombstoneUntilMs, this.#clock() + REMEMBER_DELETES_MS);
    const outcome = atOnce(this.#memory.delete({ ...request, tombstoneUntilMs }));
    if (outcome === "deleted" || outcome === "absent") this.#journal.append(mutation);
    return outcome;
  }

  async touch(request: TouchRequest): Promise<TouchOutcome> {
    const mutation = this.#admit({ kind: "touch", request: { ...request, condition: null } });
    const outcome = atOnce(this.#memory.touch(request));
    if (outcome === "touched") this.#journal.append(mutation);
    return outcome;
  }

  async increment(request: IncrementRequest): Promise<IncrementOutcome> {
    const mutation = this.#admit({ kind: "increment", request: { ...request, condition: null } });
    const outcome = atOnce(this.#memory.increment(request));
    if (outcome.kind === "incremented") this.#journal.append(mutation);
    return outcome;
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    this.#journal.append(this.#admit({ kind: "delete-matching", pattern, stamp }));
    return this.#memory.deleteMatching(pattern, stamp);
  }

  async clear(stamp: Stamp): Promise<number> {
    this.#journal.append(this.#admit({ kind: "clear", stamp }));
    return this.#memory.clear(stamp);
  }

  async scan(request: ScanRequest): Promise<ScanPage> {
    return this.#memory.scan(request);
  }

  async stats(): Promise<EngineStats> {
    return this.#memory.stats();
  }

  health(): EngineHealth {
    return this.#memory.health();
  }

  maintain(): number {
    return this.#memory.maintain();
  }

  async close(): Promise<void> {}

  get isDrained(): boolean {
    return this.#journal.isEmpty;
  }

  /**
   * A mutation that fails because Redis is away again, or full, stays in the journal, and everything after it: the next
   * replay begins with it. One that Redis will never take is reported and left out, so that it can't hold up the rest.
   */
  async replayTo(redis: Engine): Promise<void> {
    while (!this.#journal.isEmpty) {
      const { mutations, places } = this.#journal.nextBatch(REPLAY_BATCH);
      await Promise.all(mutations.map((mutation) => this.#replayOrReport(mutation, redis)));
      this.#journal.drop(places);
    }
    // What stays would be old news in the next outage. Not awaited: calls may go to Redis from this moment on.
    this.#memory.deleteMatching(EVERYTHING, LATEST).catch(() => {});
  }

  async #replayOrReport(mutation: JournaledMutation, redis: Engine): Promise<void> {
    try {
      await this.#replay(mutation, redis);
    } catch (error) {
      if (classify(error) !== "other") throw error;
      this.#log(`Redis refuses for good a ${mutation.kind} that was accepted while it was away: ${messageOf(error)}`);
    }
  }

  async #replay(mutation: JournaledMutation, redis: Engine): Promise<void> {
    switch (mutation.kind) {
      case "put":
        await this.#replayPut(mutation.request, redis);
        return;
      case "delete":
        await redis.delete(mutation.request);
        return;
      case "touch":
        await redis.touch(mutation.request);
        return;
      case "increment":
        await redis.increment(mutation.request);
        return;
      case "delete-matching":
        await redis.deleteMatching(mutation.pattern, mutation.stamp);
        return;
      case "clear":
        await redis.clear(mutation.stamp);
    }
  }

  async #replayPut(request: PutRequest, redis: Engine): Promise<void> {
    const { key, stamp, expiresAtMs } = request;
    if (expiresAtMs !== NEVER && expiresAtMs <= this.#clock()) {
      // It replaced what is still in Redis, and has expired since.
      await redis.delete({ key, stamp, condition: null, tombstoneUntilMs: NEVER });
      return;
    }
    if (!this.#journal.adjustsLater(key) && this.#wasReplaced(request)) return;
    await redis.put(request);
  }

  /** Another thread with a journal of its own may have replaced it meanwhile: the memory, which all share, knows. */
  #wasReplaced(request: PutRequest): boolean {
    const found = new StampSink();
    if (atOnce(this.#memory.get(request.key, found))) return isNewer(found.stamp, request.stamp);
    return atOnce(this.#memory.put(request)) === "superseded";
  }

  #admit<M extends JournaledMutation>(mutation: M): M {
    if (!this.#journal.hasRoomFor(mutation)) {
      throw refusal("the journal of what was accepted meanwhile is full; raise its limit or wait for Redis");
    }
    return mutation;
  }
}

/**
 * A call is accepted and journaled in the same turn of the event loop in which it came: else it could end up in the
 * journal after the outage was declared over.
 */
function atOnce<T>(result: Awaitable<T>): T {
  if (result instanceof Promise) throw new TypeError("the engine that stands in for Redis must answer at once");
  return result;
}

/** Takes an entry's stamp and not its value. */
class StampSink implements EntrySink {
  readonly target = Buffer.alloc(0);
  readonly offset = 0;
  stamp: Stamp = NO_STAMP;

  begin(entry: EntryInfo): boolean {
    this.stamp = { version: entry.stamp.version, origin: entry.stamp.origin };
    return false;
  }
}

function refusal(reason: string): EngineUnavailableError {
  return new EngineUnavailableError(`Redis is away and ${reason}`, RETRY_AFTER_MS);
}
