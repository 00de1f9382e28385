/** Compares this node's entries with those of a peer, periodically, and repairs differences. See `range-digests.ts`. */

import type { Mutation } from "../model/mutation.ts";
import type { Version } from "../model/stamp.ts";
import type { Applier } from "./applier.ts";
import type { EntryHead, EntryReader } from "./entry-reader.ts";
import type { NodeIdentity } from "./node-identity.ts";
import type { PeerCaller } from "./peer-caller.ts";
import { type RangeDigests, rangesThatDiffer } from "./range-digests.ts";

export interface ComparisonOptions {
  readonly node: NodeIdentity;
  readonly digests: RangeDigests;
  readonly entries: EntryReader;
  readonly applier: Pick<Applier, "apply">;
  /** The version up to which this node has all mutations of all nodes. */
  readonly hasAllUntil: () => Version;
  readonly onRepair: () => void;
  readonly nowMs: () => number;
  /** The summary of a peer with many entries takes long. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The part of the link to a peer that comparing uses. */
export interface ComparedLink {
  readonly caller: Pick<PeerCaller, "ask">;
  repair(mutations: readonly Mutation[], signal: AbortSignal): Promise<void>;
}

const ENTRIES_TOGETHER = 500;

export class AntiEntropy {
  constructor(private readonly options: ComparisonOptions) {}

  /** False = not possible now, because one of the two nodes lacks mutations. Rejects if the peer fails. */
  async run(link: ComparedLink): Promise<boolean> {
    const { node, digests, hasAllUntil, nowMs, signal, timeoutMs } = this.options;
    const until = hasAllUntil();
    if (until === 0) return false;
    const head = { ...node.signature(nowMs()), until };
    const { head: theirs } = await link.caller.ask("digest", head, [], signal, timeoutMs);
    if (!theirs.flag("isSettled")) return false;
    const mine = await digests.sumUp(until);
    const ranges = rangesThatDiffer(mine, { counts: theirs.numbers("counts"), sums: theirs.numbers("sums") });
    if (ranges.size === 0) return true;
    await digests.list(until, ranges, ENTRIES_TOGETHER, (entries) => this.#compare(link, until, entries));
    return true;
  }

  async #compare(link: ComparedLink, until: Version, entries: readonly EntryHead[]): Promise<void> {
    const { node, applier, onRepair, nowMs, signal } = this.options;
    const head = { ...node.signature(nowMs()), until };
    const told: Mutation[] = entries.map(({ key, stamp }) => ({ kind: "outdated", key, stamp }));
    const answer = await link.caller.ask("compare", head, told, signal);
    for (const newer of answer.mutations) {
      // It may only replace an older entry: if that entry is gone meanwhile, a newer one may have come and gone.
      if ((await applier.apply(newer, newer.stamp.version)) === "applied") onRepair();
    }
    const wanted: Mutation[] = [];
    for (const at of answer.head.numbers("wanted")) {
      const entry = entries[at];
      const put = entry === undefined ? null : await this.options.entries.read(entry.key);
      if (put !== null) wanted.push(put);
    }
    if (wanted.length > 0) await link.repair(wanted, signal);
  }
}
