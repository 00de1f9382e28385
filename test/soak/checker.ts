/**
 * Judges a history, key by key, by what no order of its operations can explain.
 *
 * An operation takes effect at one moment between its start and its end. A write whose outcome is unknown may take effect
 * at any time after its start; once a read has seen it, it took effect before that read ended. With values that are used
 * once, that decides for each read whether the write that it saw was surely replaced before the read began. These are
 * necessary conditions of linearizability, in n log n: Gibbons and Korach, "Testing Shared Memories" (SIAM J. Comput.
 * 26(4), 1997), section 4, for histories in which each read names its write.
 */
import { describeOperation, type Operation } from "../support/history.ts";

export interface Rules {
  /** Whether a read may find nothing though a write of the key stands: an entry may be evicted, or its node restarted. */
  readonly allowsMiss: (read: Operation, written: Operation) => boolean;
  /**
   * How long a read may give what another node has replaced, in ms: replication and near caches follow in the background.
   * Infinity = the two nodes promise each other nothing until they have agreed.
   */
  readonly lagMs: (read: Operation, newer: Operation, seen?: Operation) => number;
  /** Whether a read shows that the write which it saw is visible at the node of the write, too. */
  readonly shows: (read: Operation, written: Operation) => boolean;
}

export type ViolationKind = "unknown" | "from-the-future" | "refused-but-visible" | "stale" | "resurrected" | "lost";

export interface Violation {
  readonly kind: ViolationKind;
  readonly key: string;
  /** What shows it: the read, the write that it saw, and the write that it should have seen. */
  readonly evidence: readonly Operation[];
}

/** For a store that never forgets, and nodes that see each other's writes at once. */
export const STRICT: Rules = { allowsMiss: () => false, lagMs: () => 0, shows: () => true };

export function violationsIn(operations: readonly Operation[], rules: Rules): Violation[] {
  return [...byKey(operations).values()].flatMap((ofKey) => violationsOfKey(ofKey, rules));
}

/** What a person needs to see of a violation. */
export function describeViolation({ kind, key, evidence }: Violation): string {
  return [`${kind}: ${key}`, ...evidence.map((operation) => `  ${describeOperation(operation)}`)].join("\n");
}

/** A write, and by when it has surely taken effect. */
interface Write {
  readonly operation: Operation;
  effectiveMs: number;
  /** The read that shows that it had taken effect before its answer came. */
  seenBy: Operation | null;
}

function byKey(operations: readonly Operation[]): Map<string, Operation[]> {
  const keys = new Map<string, Operation[]>();
  for (const operation of operations) {
    const ofKey = keys.get(operation.key);
    if (ofKey === undefined) keys.set(operation.key, [operation]);
    else ofKey.push(operation);
  }
  return keys;
}

function violationsOfKey(operations: readonly Operation[], rules: Rules): Violation[] {
  const reads = operations.filter(({ kind, outcome, isStale }) => kind === "get" && outcome === "ok" && !isStale);
  const puts = new Map<number, Write>();
  const writes: Write[] = [];
  for (const operation of operations) {
    if (operation.kind === "get" || operation.mayMiss) continue;
    const isDone = operation.outcome === "ok";
    const effectiveMs = isDone ? operation.endMs : Number.POSITIVE_INFINITY;
    const write: Write = { operation, effectiveMs, seenBy: null };
    if (operation.outcome !== "refused") writes.push(write);
    if (operation.kind === "put" && operation.value !== null) puts.set(operation.value, write);
  }
  for (const read of reads) {
    const seen = read.value === null ? undefined : puts.get(read.value);
    if (seen === undefined || seen.effectiveMs <= read.endMs || !rules.shows(read, seen.operation)) continue;
    seen.effectiveMs = read.endMs;
    seen.seenBy = read;
  }
  writes.sort((one, other) => other.operation.startMs - one.operation.startMs);
  const deletes = operations.filter(({ kind, outcome }) => kind === "delete" && outcome !== "refused");
  deletes.sort((one, other) => other.startMs - one.startMs);
  const violations: Violation[] = [];
  for (const read of reads) {
    const violation =
      read.value === null ? lostBy(read, writes, deletes, rules) : wrongIn(read, puts.get(read.value), writes, rules);
    if (violation !== null) violations.push(violation);
  }
  return violations;
}

/** What is wrong with the value that a read was given; null = nothing. */
function wrongIn(read: Operation, seen: Write | undefined, writes: readonly Write[], rules: Rules): Violation | null {
  const { key } = read;
  if (seen === undefined) return { kind: "unknown", key, evidence: [read] };
  const { operation: written } = seen;
  const evidence = seen.seenBy === null || seen.seenBy === read ? [read, written] : [read, written, seen.seenBy];
  if (written.outcome === "refused") return { kind: "refused-but-visible", key, evidence };
  if (written.startMs > read.endMs) return { kind: "from-the-future", key, evidence };
  // Newest first: those that began after the write had surely taken effect, and before the read.
  for (let at = firstBefore(writes, startOfWrite, read.startMs); at < writes.length; at++) {
    const { operation: newer, effectiveMs } = writes[at] ?? seen;
    if (newer.startMs <= seen.effectiveMs) return null;
    if (effectiveMs + rules.lagMs(read, newer, written) >= read.startMs) continue;
    return { kind: newer.kind === "put" ? "stale" : "resurrected", key, evidence: [...evidence, newer] };
  }
  return null;
}

/** The put that a read should have found, where no delete explains that it found nothing. */
function lostBy(
  read: Operation,
  writes: readonly Write[],
  deletes: readonly Operation[],
  rules: Rules,
): Violation | null {
  for (const { operation: written, effectiveMs } of writes.slice(firstBefore(writes, startOfWrite, read.startMs))) {
    if (written.kind !== "put" || effectiveMs + rules.lagMs(read, written) >= read.startMs) continue;
    if (rules.allowsMiss(read, written)) continue;
    const begun = deletes.slice(firstBefore(deletes, startOf, read.endMs));
    const isExplained = begun.some(({ endMs }) => endMs > written.startMs);
    return isExplained ? null : { kind: "lost", key: read.key, evidence: [read, written] };
  }
  return null;
}

const startOf = ({ startMs }: Operation): number => startMs;
const startOfWrite = ({ operation }: Write): number => operation.startMs;

/** The place of the first item that began before a time, in a list that begins with the newest. */
function firstBefore<Item>(newestFirst: readonly Item[], startOfItem: (item: Item) => number, ms: number): number {
  let low = 0;
  let high = newestFirst.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const item = newestFirst[middle];
    if (item !== undefined && startOfItem(item) >= ms) low = middle + 1;
    else high = middle;
  }
  return low;
}
