import {
  type DeleteRequest,
  type Engine,
  EngineUnavailableError,
  type EntrySink,
  type IncrementRequest,
  type PutRequest,
  type ScanRequest,
  type TouchRequest,
} from "../../src/engine/engine.ts";
import type { Key } from "../../src/model/key.ts";
import type { KeyPattern } from "../../src/model/matcher.ts";
import type { Stamp } from "../../src/model/stamp.ts";

/**
 * - `answers`: as the engine below.
 * - `lost`: the call never reaches it, and fails.
 * - `unheard`: it is done, and fails all the same.
 * - `late`: it fails, and is done when `catchUp` is called.
 */
export type Fate = "answers" | "lost" | "unheard" | "late";

/** An engine on a server whose answers, or whose questions, may be lost on the way. */
export class DoubtfulEngine implements Engine {
  readonly name = "redis";
  readonly answersAtOnce = false;
  readonly refusesForgotten = false;
  fate: Fate = "answers";
  isReachable = true;
  readonly #late: (() => unknown)[] = [];

  constructor(private readonly below: Engine) {}

  /** Does what is late. */
  async catchUp(): Promise<void> {
    for (const run of this.#late.splice(0)) await run();
  }

  requireReachable(): void {
    if (!this.isReachable) throw unavailable();
  }

  async get(key: Key, sink: EntrySink) {
    if (this.fate !== "answers") throw unavailable();
    return this.below.get(key, sink);
  }

  async peek(key: Key, sink: EntrySink) {
    if (this.fate !== "answers") throw unavailable();
    return this.below.peek(key, sink);
  }

  async stampOf(key: Key) {
    return this.below.stampOf(key);
  }

  put(request: PutRequest) {
    return this.#meet(() => this.below.put(request));
  }

  delete(request: DeleteRequest) {
    return this.#meet(() => this.below.delete(request));
  }

  touch(request: TouchRequest) {
    return this.#meet(() => this.below.touch(request));
  }

  increment(request: IncrementRequest) {
    return this.#meet(() => this.below.increment(request));
  }

  async scan(request: ScanRequest) {
    return this.below.scan(request);
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp) {
    return this.#meet(() => this.below.deleteMatching(pattern, stamp));
  }

  clear(stamp: Stamp) {
    return this.#meet(() => this.below.clear(stamp));
  }

  stats() {
    return this.below.stats();
  }

  health() {
    return this.below.health();
  }

  close() {
    return this.below.close();
  }

  async #meet<T>(run: () => T | Promise<T>): Promise<T> {
    if (this.fate === "answers") return run();
    if (this.fate === "unheard") await run();
    if (this.fate === "late") this.#late.push(run);
    throw unavailable();
  }
}

function unavailable(): EngineUnavailableError {
  return new EngineUnavailableError("Redis is not available: it is a test", 1_000);
}
