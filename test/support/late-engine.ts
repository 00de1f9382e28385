import type {
  DeleteOutcome,
  DeleteRequest,
  Engine,
  EngineHealth,
  EngineStats,
  EntryInfo,
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
} from "../../src/engine/engine.ts";
import type { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import type { Key } from "../../src/model/key.ts";
import type { KeyPattern } from "../../src/model/matcher.ts";
import type { Stamp } from "../../src/model/stamp.ts";

/**
 * An engine whose answers come on a later turn of the event loop, as those of a server elsewhere do: what was asked is
 * done at once and in order, and the caller's objects may hold other things by the time it hears of it.
 */
export class LateEngine implements Engine {
  readonly name = "redis";
  readonly answersAtOnce = false;
  readonly refusesForgotten = false;
  /** What every call ends with while it is set. */
  failure: Error | null = null;

  constructor(protected readonly below: MemoryEngine) {}

  async get(key: Key, sink: EntrySink): Promise<boolean> {
    const found = new KeptEntry();
    const wasFound = this.below.get(key, found);
    await this.later(null);
    if (wasFound) found.giveTo(sink);
    return wasFound;
  }

  async peek(key: Key, sink: EntrySink): Promise<boolean> {
    const found = new KeptEntry();
    const wasFound = this.below.peek(key, found);
    await this.later(null);
    if (wasFound) found.giveTo(sink);
    return wasFound;
  }

  stampOf(key: Key): Promise<Stamp | null> {
    return this.later(this.below.stampOf(key));
  }

  put(request: PutRequest): Promise<PutOutcome> {
    return this.later(this.below.put(request));
  }

  delete(request: DeleteRequest): Promise<DeleteOutcome> {
    return this.later(this.below.delete(request));
  }

  touch(request: TouchRequest): Promise<TouchOutcome> {
    return this.later(this.below.touch(request));
  }

  increment(request: IncrementRequest): Promise<IncrementOutcome> {
    return this.later(this.below.increment(request));
  }

  async scan(request: ScanRequest): Promise<ScanPage> {
    return this.later(this.below.scan(request));
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    return this.below.deleteMatching(pattern, stamp);
  }

  clear(stamp: Stamp): Promise<number> {
    return this.below.clear(stamp).then((deleted) => this.later(deleted));
  }

  stats(): Promise<EngineStats> {
    return this.later(this.below.stats());
  }

  health(): EngineHealth {
    return this.below.health();
  }

  close(): Promise<void> {
    return this.below.close();
  }

  protected async later<T>(answer: T): Promise<T> {
    const { failure } = this;
    await new Promise((resolve) => setImmediate(resolve));
    if (failure !== null) throw failure;
    return answer;
  }
}

/** The same, for those who read without promises. */
export class UnpromisingEngine extends LateEngine {
  getLater(key: Key, reader: LateReader): boolean {
    const kept = new KeptEntry();
    const wasFound = this.below.get(key, kept);
    this.later(null).then(
      () => {
        if (wasFound) kept.giveTo(reader);
        reader.done(wasFound);
      },
      (error: unknown) => reader.failed(error),
    );
    return true;
  }
}

/** An entry with all that is known of it, to be handed on. */
class KeptEntry implements EntrySink {
  target: Buffer = Buffer.alloc(0);
  readonly offset = 0;
  private entry: EntryInfo | null = null;

  begin(entry: EntryInfo): boolean {
    const { valueLength, attributes, expiresAtMs, revision, stamp } = entry;
    this.entry = {
      valueLength,
      attributes: { contentType: attributes.contentType },
      expiresAtMs,
      revision,
      stamp: { version: stamp.version, nodeId: stamp.nodeId },
    };
    this.target = Buffer.alloc(valueLength);
    return true;
  }

  giveTo(sink: EntrySink): void {
    if (this.entry !== null && sink.begin(this.entry)) this.target.copy(sink.target, sink.offset);
  }
}
