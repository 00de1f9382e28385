/**
 * Finds differences between two nodes that bugs or lost state have left, and repairs them by the version rule.
 *
 * A node sums up its entries by ranges of key hashes: their number, and the sum of the hashes of (key, version, node
 * id). If the other node's sums differ, it gets the entries of that range and answers which of them it has in a newer
 * version, and which it wants because its own are older. An entry that one node lacks is not a difference: it may have
 * been evicted there. Only entries that both must have had are compared: those up to a version up to which each node
 * has all mutations of all nodes.
 */

import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { keyOf } from "../model/key.ts";
import type { Mutation } from "../model/mutation.ts";
import { isNewer, type Stamp } from "../model/stamp.ts";
import type { EntryHead, EntryReader } from "./entry-reader.ts";
import type { NodeIdentity } from "./node-identity.ts";
import { encodeMessage, type Message } from "./wire/message.ts";

const RANGES = 256;
const SUM_MODULUS = 2 ** 52;

export interface RangeDigestsOptions {
  readonly node: NodeIdentity;
  readonly entries: EntryReader;
  readonly invalidations: RecentInvalidations;
  readonly hasAllUntil: (version: number) => boolean;
  readonly nowMs: () => number;
}

export interface Digests {
  readonly counts: number[];
  readonly sums: number[];
}

export class RangeDigests {
  constructor(readonly options: RangeDigestsOptions) {}

  /** The digests of the entries up to a version. */
  async sumUp(until: number): Promise<Digests> {
    const counts = new Array<number>(RANGES).fill(0);
    const sums = new Array<number>(RANGES).fill(0);
    await this.options.entries.forEach((entry) => {
      if (!isCompared(entry, until)) return;
      const range = rangeOf(entry.key);
      counts[range] = (counts[range] ?? 0) + 1;
      sums[range] = ((sums[range] ?? 0) + hashOf(entry)) % SUM_MODULUS;
    });
    return { counts, sums };
  }

  /** Passes the entries of some ranges to `use`, a limited number at a time. */
  async list(
    until: number,
    ranges: ReadonlySet<number>,
    together: number,
    use: (entries: EntryHead[]) => Promise<void>,
  ): Promise<void> {
    let some: EntryHead[] = [];
    await this.options.entries.forEach(async (entry) => {
      if (!isCompared(entry, until) || !ranges.has(rangeOf(entry.key))) return;
      some.push(entry);
      if (some.length < together) return;
      await use(some);
      some = [];
    });
    if (some.length > 0) await use(some);
  }
}

/** A fill from a database has no node id, and belongs to each node alone. */
function isCompared({ stamp }: EntryHead, until: number): boolean {
  return stamp.nodeId !== 0 && stamp.version <= until;
}

export function rangesThatDiffer(mine: Digests, theirs: Digests): Set<number> {
  const ranges = new Set<number>();
  for (let range = 0; range < RANGES; range++) {
    const isEmpty = mine.counts[range] === 0 || theirs.counts[range] === 0;
    const isSame = mine.counts[range] === theirs.counts[range] && mine.sums[range] === theirs.sums[range];
    // If the other node has no entry at all, it may still know of a delete of ours.
    if (!isSame && !(isEmpty && mine.counts[range] === 0)) ranges.add(range);
  }
  return ranges;
}

export async function answerDigest(digests: RangeDigests, { head }: Message): Promise<Buffer> {
  const { node, nowMs, hasAllUntil } = digests.options;
  const until = head.number("until");
  const signature = node.signature(nowMs());
  if (!hasAllUntil(until)) return encodeMessage("answer", { ...signature, isSettled: false });
  const { counts, sums } = await digests.sumUp(until);
  return encodeMessage("answer", { ...signature, isSettled: true, counts, sums });
}

/**
 * The peer's entries arrive as "outdated" with their stamps; the answer has the newer ones of this node, and those that
 * it wants.
 */
export async function answerCompare(digests: RangeDigests, { head, mutations }: Message): Promise<Buffer> {
  const { node, nowMs } = digests.options;
  const until = head.number("until");
  const newer: Mutation[] = [];
  const wanted: number[] = [];
  for (const [at, entry] of mutations.entries()) {
    if (entry.kind !== "outdated") continue;
    const own = await knownOf(digests, entry.key, entry.stamp);
    if (own === null) continue;
    if (isNewer(entry.stamp, own.stamp)) wanted.push(at);
    else if (own.stamp.version <= until && isNewer(own.stamp, entry.stamp)) newer.push(own);
  }
  return encodeMessage("answer", { ...node.signature(nowMs()), wanted }, newer);
}

/** The newest known mutation of a key; null = none. */
async function knownOf(
  { options: { entries, invalidations } }: RangeDigests,
  key: string,
  theirs: Stamp,
): Promise<Mutation | null> {
  const put = await entries.read(key);
  if (put !== null) return put.stamp.nodeId === 0 ? null : put;
  const covering = invalidations.covering(keyOf(key), theirs);
  const stamp = (await entries.stampOf(key)) ?? covering;
  if (stamp === null || stamp.nodeId === 0) return null;
  return { kind: "delete", key, stamp: covering !== null && isNewer(covering, stamp) ? covering : stamp };
}

function rangeOf(key: string): number {
  return Bun.hash.xxHash32(key, 1) & (RANGES - 1);
}

function hashOf({ key, stamp }: EntryHead): number {
  const text = `${key}\0${stamp.version}\0${stamp.nodeId}`;
  return Bun.hash.xxHash32(text, 2) * 2 ** 20 + (Bun.hash.xxHash32(text, 3) & 0xfffff);
}
