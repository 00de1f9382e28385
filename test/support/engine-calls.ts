import type { Engine } from "../../src/engine/engine.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import type { Stamp, Version } from "../../src/model/stamp.ts";
import { CollectingSink, keyOf } from "./collecting-sink.ts";

/** An engine's calls with plain arguments, stamped with increasing versions. */
export class EngineCalls {
  readonly engine: Engine;
  #version: number;

  constructor(engine: Engine, firstVersion = 1) {
    this.engine = engine;
    this.#version = firstVersion;
  }

  stamp(): Stamp {
    return { version: this.#version++ as Version, nodeId: 0 };
  }

  async put(key: string, value: string, options: { expiresAtMs?: number; contentType?: string } = {}) {
    const source = Buffer.from(value);
    return await this.engine.put({
      key: keyOf(key),
      source,
      start: 0,
      end: source.length,
      attributes: { contentType: options.contentType ?? JSON_CONTENT_TYPE },
      expiresAtMs: options.expiresAtMs ?? NEVER,
      stamp: this.stamp(),
      condition: null,
    });
  }

  async get(key: string): Promise<string | null> {
    return (await this.find(key))?.bytes.toString() ?? null;
  }

  async find(key: string): Promise<CollectingSink | null> {
    const sink = new CollectingSink();
    return (await this.engine.get(keyOf(key), sink)) ? sink : null;
  }

  async delete(key: string) {
    return await this.engine.delete({ key: keyOf(key), stamp: this.stamp(), condition: null, tombstoneUntilMs: NEVER });
  }

  async touch(key: string, expiresAtMs: number) {
    return await this.engine.touch({ key: keyOf(key), expiresAtMs, seen: null, condition: null });
  }

  async increment(key: string, delta: number) {
    return await this.engine.increment({
      key: keyOf(key),
      delta,
      expiresAtMsIfNew: NEVER,
      stamp: this.stamp(),
      condition: null,
    });
  }
}
