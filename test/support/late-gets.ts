import type { Engine, EntryInfo, EntrySink, LateReader } from "../../src/engine/engine.ts";
import type { Key } from "../../src/model/key.ts";

/** An engine whose gets all go by `getLater`, as long as it takes them: for tests that ask by `get`. */
export function withLateGets(engine: Engine): Engine {
  return new Proxy(engine, {
    get(target, name) {
      if (name === "get") return (key: Key, sink: EntrySink) => getLater(target, key, sink);
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

function getLater(engine: Engine, key: Key, sink: EntrySink) {
  const reader = new PromisedReader(sink);
  const kept = { bytes: Buffer.from(key.bytes.subarray(0, key.length)), length: key.length };
  return engine.getLater?.(kept, reader) ? reader.outcome : engine.get(key, sink);
}

class PromisedReader implements LateReader {
  readonly #outcome = Promise.withResolvers<boolean>();
  readonly #sink: EntrySink;

  constructor(sink: EntrySink) {
    this.#sink = sink;
  }

  get outcome(): Promise<boolean> {
    return this.#outcome.promise;
  }

  get target(): Buffer {
    return this.#sink.target;
  }

  get offset(): number {
    return this.#sink.offset;
  }

  begin(entry: EntryInfo): boolean {
    return this.#sink.begin(entry);
  }

  done(isFound: boolean): void {
    this.#outcome.resolve(isFound);
  }

  failed(error: unknown): void {
    this.#outcome.reject(error);
  }
}
