import type {
  DeleteOutcome,
  DeleteRequest,
  Engine,
  EngineHealth,
  EngineStats,
  EntrySink,
  IncrementOutcome,
  IncrementRequest,
  PutOutcome,
  PutRequest,
  ScanPage,
  ScanRequest,
  TouchOutcome,
  TouchRequest,
} from "../../src/engine/engine.ts";
import type { Key } from "../../src/model/key.ts";
import type { KeyPattern } from "../../src/model/matcher.ts";
import type { Stamp } from "../../src/model/stamp.ts";
import type { Awaitable } from "../../src/runtime/awaitable.ts";

/** An engine in which something else gets in before the next mutation, as another thread's may, after it was stamped. */
export class OvertakingEngine implements Engine {
  /** Done once, before the next mutation. */
  next: () => unknown = () => {};

  constructor(private readonly below: Engine) {}

  get name(): "memory" | "redis" {
    return this.below.name;
  }

  get answersAtOnce(): boolean {
    return this.below.answersAtOnce;
  }

  get refusesForgotten(): boolean {
    return this.below.refusesForgotten;
  }

  peek(key: Key, sink: EntrySink): Awaitable<boolean> {
    return this.below.peek(key, sink);
  }

  stampOf(key: Key): Awaitable<Stamp | null> {
    return this.below.stampOf(key);
  }

  put(request: PutRequest): Awaitable<PutOutcome> {
    this.letOvertake();
    return this.below.put(request);
  }

  delete(request: DeleteRequest): Awaitable<DeleteOutcome> {
    this.letOvertake();
    return this.below.delete(request);
  }

  touch(request: TouchRequest): Awaitable<TouchOutcome> {
    this.letOvertake();
    return this.below.touch(request);
  }

  increment(request: IncrementRequest): Awaitable<IncrementOutcome> {
    this.letOvertake();
    return this.below.increment(request);
  }

  get(key: Key, sink: EntrySink): Awaitable<boolean> {
    return this.below.get(key, sink);
  }

  expectGets(keys: readonly Key[], count: number): void {
    this.below.expectGets?.(keys, count);
  }

  scan(request: ScanRequest): Awaitable<ScanPage> {
    return this.below.scan(request);
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    return this.below.deleteMatching(pattern, stamp);
  }

  clear(stamp: Stamp): Promise<number> {
    return this.below.clear(stamp);
  }

  stats(): Awaitable<EngineStats> {
    return this.below.stats();
  }

  health(): EngineHealth {
    return this.below.health();
  }

  close(): Promise<void> {
    return this.below.close();
  }

  private letOvertake(): void {
    const { next } = this;
    this.next = () => {};
    next();
  }
}
