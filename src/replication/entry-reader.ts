/** Reads entries of the engine for peers: with their stamps, without counting hits, page by page. */

import type { Engine, EntryInfo, EntrySink } from "../engine/engine.ts";
import { keyOf } from "../model/key.ts";
import type { ValueMutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { KeyFilter } from "./key-filter.ts";
import type { RecentTouches } from "./recent-touches.ts";

export interface EntryReaderOptions {
  readonly engine: Engine;
  readonly filter: KeyFilter;
  readonly touches: RecentTouches;
  /** Resolves after other work of this thread has run. */
  readonly letOthersRun: () => Promise<void>;
}

export interface EntryPage {
  readonly puts: ValueMutation[];
  /** Null = the end. */
  readonly cursor: string | null;
}

/** An entry without its value. */
export interface EntryHead {
  readonly key: string;
  readonly stamp: Stamp;
}

const SCANNED_TOGETHER = 64;
const PAGE_BYTES = 512 * 1024;
/** Larger values are not copied to a node that bootstraps, because both sides hold a page in memory. */
const MOST_VALUE_BYTES = 256 * 1024;

export class EntryReader {
  readonly #options: EntryReaderOptions;

  constructor(options: EntryReaderOptions) {
    this.#options = options;
  }

  letOthersRun(): Promise<void> {
    return this.#options.letOthersRun();
  }

  stampOf(key: string): Awaitable<Stamp | null> {
    return this.#options.engine.stampOf(keyOf(key));
  }

  /** Null = no live entry. */
  async read(key: string): Promise<ValueMutation | null> {
    const sink = new EntryCopy(Number.POSITIVE_INFINITY);
    return (await this.#options.engine.peek(keyOf(key), sink)) ? sink.asPut(key, this.#options.touches) : null;
  }

  /** The entries from a cursor on. Throws `InvalidCursorError`. */
  async page(from: string | null): Promise<EntryPage> {
    const puts: ValueMutation[] = [];
    let bytes = 0;
    let cursor = from;
    do {
      const page = await this.#scan(cursor);
      for (const key of page.keys) {
        const sink = new EntryCopy(MOST_VALUE_BYTES);
        if (!(await this.#options.engine.peek(keyOf(key), sink))) continue;
        const put = sink.asPut(key, this.#options.touches);
        if (put === null) continue;
        puts.push(put);
        bytes += put.value.bytes.length + key.length;
      }
      cursor = page.cursor;
    } while (cursor !== null && bytes < PAGE_BYTES);
    return { puts, cursor };
  }

  /** Calls `visit` with every entry that exists during the whole walk. */
  async forEach(visit: (entry: EntryHead) => void | Promise<void>): Promise<void> {
    let cursor: string | null = null;
    do {
      const page = await this.#scan(cursor);
      for (const key of page.keys) {
        const sink = new StampSink();
        if ((await this.#options.engine.peek(keyOf(key), sink)) && sink.stamp !== null) {
          await visit({ key, stamp: sink.stamp });
        }
      }
      cursor = page.cursor;
      await this.letOthersRun();
    } while (cursor !== null);
  }

  async #scan(cursor: string | null): Promise<{ readonly keys: string[]; readonly cursor: string | null }> {
    const { engine, filter } = this.#options;
    const page = await engine.scan({ pattern: null, cursor, limit: SCANNED_TOGETHER });
    return { keys: page.keys.filter((key) => filter.takes(key)), cursor: page.cursor };
  }
}

/** Copies an entry, unless its value is too large. */
class EntryCopy implements EntrySink {
  target = Buffer.alloc(0);
  readonly offset = 0;
  #head: { readonly contentType: string; readonly expiresAtMs: number; readonly stamp: Stamp } | null = null;

  constructor(private readonly limitBytes: number) {}

  begin({ valueLength, attributes, expiresAtMs, stamp }: EntryInfo): boolean {
    this.#head = null;
    if (valueLength > this.limitBytes) return false;
    this.#head = {
      contentType: attributes.contentType,
      expiresAtMs,
      stamp: { version: stamp.version, nodeId: stamp.nodeId },
    };
    this.target = Buffer.allocUnsafe(valueLength);
    return true;
  }

  asPut(key: string, touches: RecentTouches): ValueMutation | null {
    if (this.#head === null) return null;
    const { contentType, stamp } = this.#head;
    const value = { bytes: this.target, contentType };
    const touch = touches.of(key, stamp);
    if (touch === null) return { kind: "put", key, value, expiresAtMs: this.#head.expiresAtMs, stamp };
    // A touch that is known but not yet applied determines the expiry.
    return { kind: "touch", key, value, expiresAtMs: touch.expiresAtMs, stamp, touch: touch.stamp };
  }
}

class StampSink implements EntrySink {
  readonly target = Buffer.alloc(0);
  readonly offset = 0;
  stamp: Stamp | null = null;

  begin({ stamp }: EntryInfo): boolean {
    this.stamp = { version: stamp.version, nodeId: stamp.nodeId };
    return false;
  }
}
