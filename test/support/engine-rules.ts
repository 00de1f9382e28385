/** What the engines of tests share: rules of the contract that have nothing to do with how entries are kept. */
import type { Condition, IncrementOutcome } from "../../src/engine/engine.ts";
import { JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import type { Stamp } from "../../src/model/stamp.ts";

export function holds(condition: Condition | null, entry: { readonly stamp: Stamp } | null): boolean {
  if (condition === null) return true;
  if (condition.kind === "absent") return entry === null;
  if (condition.kind === "present") return entry !== null;
  if (condition.kind === "revision-in") return entry !== null && condition.revisions.includes(entry.stamp.version);
  return entry === null || !condition.revisions.includes(entry.stamp.version);
}

/** A counter after it was counted on; null = there is no entry yet. */
export function increased(
  entry: { readonly value: Buffer; readonly contentType: string } | null,
  delta: number,
): IncrementOutcome {
  const text = entry?.value.toString() ?? "0";
  const isJson = entry === null || entry.contentType === JSON_CONTENT_TYPE;
  if (!isJson || !/^[ \t\n\r]*-?(0|[1-9]\d*)[ \t\n\r]*$/.test(text) || !Number.isSafeInteger(Number(text))) {
    return { kind: "not-an-integer" };
  }
  const value = Number(text) + delta;
  return Number.isSafeInteger(value) ? { kind: "incremented", value } : { kind: "out-of-range" };
}
