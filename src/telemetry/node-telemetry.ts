/** The counts that all threads of a node write, and the views of them. */

import { type HotKey, HotKeys, type HotKeysHandle, hottestKeys, makeHotKeys } from "./hot-keys.ts";
import type { MetricFamily } from "./metric-family.ts";
import {
  KeyUse,
  makeNamespaces,
  type NamespaceCounts,
  Namespaces,
  type NamespacesHandle,
  namespaceCounts,
} from "./namespaces.ts";
import { makeRequestCounts, RequestCounts, type RequestCountsHandle, requestFamilies } from "./request-counts.ts";
import { noteKey } from "./trace/key-attributes.ts";
import type { Tracer } from "./trace/tracer.ts";

/** Structured-cloneable. */
export interface TelemetryHandle {
  readonly requests: RequestCountsHandle;
  readonly namespaces: NamespacesHandle;
  readonly hotKeys: HotKeysHandle;
}

/** @param threads number of threads, which attach with numbers from 0 */
export function makeTelemetry(threads: number): TelemetryHandle {
  return {
    requests: makeRequestCounts(threads),
    namespaces: makeNamespaces(threads),
    hotKeys: makeHotKeys(threads),
  };
}

interface KeyBytes {
  readonly bytes: Buffer;
  readonly length: number;
}

/** The counts of one thread. */
export class ThreadTelemetry {
  readonly requests: RequestCounts;
  readonly #namespaces: Namespaces;
  readonly #hotKeys: HotKeys;

  constructor(
    private readonly handle: TelemetryHandle,
    thread: number,
    random: () => number,
    readonly tracer: Tracer | null = null,
  ) {
    this.requests = new RequestCounts(handle.requests, thread);
    this.#namespaces = new Namespaces(handle.namespaces, thread);
    this.#hotKeys = new HotKeys(handle.hotKeys, thread, random);
  }

  hit(key: KeyBytes, valueBytes: number): void {
    this.#namespaces.count(key, KeyUse.Hit);
    this.#hotKeys.read(key, valueBytes);
    if (this.tracer !== null) noteKey(this.tracer, key, { hit: true, valueBytes });
  }

  miss(key: KeyBytes): void {
    this.#namespaces.count(key, KeyUse.Miss);
    this.#hotKeys.read(key, -1);
    if (this.tracer !== null) noteKey(this.tracer, key, { hit: false });
  }

  set(key: KeyBytes, valueBytes: number): void {
    this.#namespaces.count(key, KeyUse.Set);
    if (this.tracer !== null) noteKey(this.tracer, key, { valueBytes });
  }

  deleted(key: KeyBytes): void {
    this.#namespaces.count(key, KeyUse.Delete);
    if (this.tracer !== null) noteKey(this.tracer, key, {});
  }

  /** Sum over all threads. */
  families(): MetricFamily[] {
    return sharedFamilies(this.handle);
  }

  /** Sum over all threads. */
  namespaces(): NamespaceCounts[] {
    return namespaceCounts(this.handle.namespaces);
  }

  /** Over all threads. */
  hottestKeys(limit: number): HotKey[] {
    return hottestKeys(this.handle.hotKeys, limit);
  }
}

export function sharedFamilies(handle: TelemetryHandle): MetricFamily[] {
  return [...requestFamilies(handle.requests), ...namespaceFamilies(namespaceCounts(handle.namespaces))];
}

function namespaceFamilies(counts: readonly NamespaceCounts[]): MetricFamily[] {
  const reads = counts.flatMap(({ name, hits, misses }) => [
    { attributes: { namespace: name, result: "hit" }, value: hits },
    { attributes: { namespace: name, result: "miss" }, value: misses },
  ]);
  const writes = counts.flatMap(({ name, sets, deletes }) => [
    { attributes: { namespace: name, operation: "set" }, value: sets },
    { attributes: { namespace: name, operation: "delete" }, value: deletes },
  ]);
  return [
    {
      kind: "counter",
      name: "servcache.namespace.reads",
      unit: "{read}",
      help: "Reads by namespace, the text of a key before its first colon.",
      points: reads,
    },
    {
      kind: "counter",
      name: "servcache.namespace.writes",
      unit: "{write}",
      help: "Sets and deletes of single keys by namespace.",
      points: writes,
    },
  ];
}
