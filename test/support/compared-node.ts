import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import type { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { NEVER } from "../../src/model/entry.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion, type Version } from "../../src/model/stamp.ts";
import type { ComparedLink } from "../../src/replication/anti-entropy.ts";
import { EntryReader } from "../../src/replication/entry-reader.ts";
import { KeyFilter } from "../../src/replication/key-filter.ts";
import { NodeIdentity } from "../../src/replication/node-identity.ts";
import { answerCompare, answerDigest, RangeDigests } from "../../src/replication/range-digests.ts";
import { RecentTouches } from "../../src/replication/recent-touches.ts";
import {
  decodeMessage,
  encodeMessage,
  type HeadMembers,
  type MessageKind,
} from "../../src/replication/wire/message.ts";
import { CollectingSink } from "./collecting-sink.ts";
import { keyOf, smallEngine, stampOf } from "./engine-io.ts";

/** What a comparison needs of a node: an engine and what reads it, without links and timers. */
export class ComparedNode implements ComparedLink {
  readonly engine: MemoryEngine = smallEngine(1024 * 1024);
  readonly invalidations = RecentInvalidations.create();
  readonly node: NodeIdentity;
  readonly entries: EntryReader;
  readonly digests: RangeDigests;
  /** Up to which version it has everything. */
  until: Version = toVersion(1_000_000);
  /** What the other has asked, and what it has sent as repairs. */
  readonly asked: string[] = [];
  readonly repaired: Mutation[] = [];
  /** Asks this node, in the form of the wire. */
  readonly caller = {
    ask: async (kind: MessageKind, head: HeadMembers, told: readonly Mutation[]) => {
      this.asked.push(kind);
      const message = decodeMessage(encodeMessage(kind, head, told));
      const answer =
        kind === "digest" ? await answerDigest(this.digests, message) : await answerCompare(this.digests, message);
      return decodeMessage(answer);
    },
  };

  constructor(id: number, filter = new KeyFilter([])) {
    this.node = new NodeIdentity(id, 1);
    const touches = new RecentTouches();
    this.entries = new EntryReader({ engine: this.engine, filter, touches, letOthersRun: () => Promise.resolve() });
    this.digests = new RangeDigests({
      node: this.node,
      entries: this.entries,
      invalidations: this.invalidations,
      hasAllUntil: (version) => version <= this.until,
      nowMs: () => 1_800_000_000_000,
    });
  }

  put(key: string, version: number, nodeId = 1, text = `v${version}`): void {
    const source = Buffer.from(text);
    const value = { source, start: 0, end: source.length, attributes: { contentType: "text/plain" } };
    this.engine.put({
      key: keyOf(key),
      ...value,
      expiresAtMs: NEVER,
      stamp: stampOf(version, nodeId),
      condition: null,
    });
  }

  remove(key: string, version: number, nodeId = 1, tombstoneUntilMs = Number.MAX_SAFE_INTEGER): void {
    this.engine.delete({ key: keyOf(key), stamp: stampOf(version, nodeId), condition: null, tombstoneUntilMs });
  }

  get(key: string): string | null {
    const sink = new CollectingSink();
    return this.engine.peek(keyOf(key), sink) ? sink.bytes.toString() : null;
  }

  async repair(mutations: readonly Mutation[]): Promise<void> {
    this.repaired.push(...mutations);
  }
}
