import type { EntryInfo, EntrySink } from "../engine/engine.ts";
import { NEVER } from "../model/entry.ts";

/** Passes an entry on, and notes whether it is to be reloaded before it expires. */
export class RefreshSink implements EntrySink {
  isDue = false;
  #sink: EntrySink = IGNORED;

  constructor(
    private readonly aheadMs: number,
    private readonly nowMs: () => number,
  ) {}

  watch(sink: EntrySink): void {
    this.#sink = sink;
  }

  get target(): Buffer {
    return this.#sink.target;
  }

  get offset(): number {
    return this.#sink.offset;
  }

  /** Only where the sink behind takes old values. */
  get markStale(): EntrySink["markStale"] {
    const sink = this.#sink;
    return sink.markStale === undefined ? undefined : () => sink.markStale?.();
  }

  begin(entry: EntryInfo): boolean {
    this.isDue = entry.expiresAtMs !== NEVER && entry.expiresAtMs - this.nowMs() < this.aheadMs;
    return this.#sink.begin(entry);
  }
}

/** Takes nothing. */
export const IGNORED: EntrySink = { target: Buffer.alloc(0), offset: 0, begin: () => false };
