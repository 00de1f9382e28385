import type { Tracer } from "./tracer.ts";

/** Facts about the entry that a span concerns. */
export interface EntryFacts {
  /** Only for reads. */
  readonly hit?: boolean;
  readonly valueBytes?: number;
}

const KEY = "cache.key";
const NAMESPACE = "cache.namespace";
const HIT = "cache.hit";
const VALUE_BYTES = "cache.value.size";
const KEYS = "cache.keys";
const COLON = 0x3a;

/** Adds the entry to the active span, if there is one; for several keys, only their number. */
export function noteKey(
  tracer: Tracer,
  { bytes, length }: { readonly bytes: Buffer; readonly length: number },
  { hit, valueBytes }: EntryFacts,
): void {
  const span = tracer.active;
  if (span === null) return;
  const { attributes } = span;
  const before = attributes[KEYS];
  const count = typeof before === "number" ? before + 1 : 1;
  span.set(KEYS, count);
  if (count > 1) {
    for (const name of [KEY, NAMESPACE, HIT, VALUE_BYTES]) delete attributes[name];
    return;
  }
  const key = bytes.toString("utf8", 0, length);
  const name = tracer.nameOf(key);
  if (hit !== undefined) span.set(HIT, hit);
  if (valueBytes !== undefined) span.set(VALUE_BYTES, valueBytes);
  if (name === null) return;
  span.set(KEY, name);
  const colon = bytes.subarray(0, length).indexOf(COLON);
  if (colon > 0) span.set(NAMESPACE, bytes.toString("utf8", 0, colon));
}
