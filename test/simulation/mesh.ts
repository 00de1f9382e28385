/** A small mesh of simulated nodes for histories that are told step by step. */
import { destinationOf } from "../../src/replication/peer-rows.ts";
import { History, nameOf } from "./history.ts";
import { ModelNetwork } from "./model-network.ts";
import { ModelNode, type NodeSettings } from "./model-node.ts";
import { Random } from "./random.ts";
import { WorldClock } from "./world-clock.ts";

const STEP_MS = 250;
const PEACE_MS = 120_000;

export class Mesh {
  readonly clock = new WorldClock();
  readonly network: ModelNetwork;
  readonly nodes: ModelNode[] = [];
  readonly log: string[] = [];
  readonly #history: History;

  /** Nodes are `http://n1:1` and so on; all are started. */
  constructor(settings: readonly Partial<NodeSettings>[], seed = 1) {
    const random = new Random(seed);
    this.#history = new History((mutation, key) => this.nodes.some((node) => node.knows(mutation, key)));
    const calm = { delayMs: 5, lostRequest: 0, lostResponse: 0, duplicate: 0, duplicateLateMs: 0 };
    this.network = new ModelNetwork(this.clock, random, calm);
    const world = {
      ...{ clock: this.clock, network: this.network, random, history: this.#history, isTraced: true },
      nodes: () => this.nodes,
      log: (line: string) => void this.log.push(`${this.clock.nowMs % 1_000_000} ${line}`),
    };
    const urls = settings.map((_, at) => urlOf(at + 1));
    for (const [at, own] of settings.entries()) {
      const url = urlOf(at + 1);
      const peers = urls.filter((other) => other !== url);
      this.nodes.push(new ModelNode({ ...ORDINARY, id: at + 1, url, peers, ...own }, world));
    }
    for (const node of this.nodes) node.start();
  }

  node(number: number): ModelNode {
    const node = this.nodes[number - 1];
    if (node === undefined) throw new Error(`there is no node ${number}`);
    return node;
  }

  async run(ms: number): Promise<void> {
    await this.clock.runUntil(this.clock.nowMs + ms);
  }

  /** Both directions. */
  cut(a: number, b: number): void {
    this.network.cut(urlOf(a), urlOf(b));
    this.network.cut(urlOf(b), urlOf(a));
  }

  restart(number: number): void {
    this.node(number).kill(false);
    this.node(number).start();
  }

  /** Heals all links, and runs until nothing waits any more; gives what the rule forbids. */
  async settle(keys: readonly string[]): Promise<string[]> {
    this.network.healAll();
    const endMs = this.clock.nowMs + PEACE_MS;
    // What was late still comes.
    await this.run(10_000);
    while (this.clock.nowMs < endMs && !this.isDrained) await this.run(STEP_MS);
    await this.run(5000);
    const faults = [...this.#history.faults];
    if (!this.isDrained) faults.push("something still waits");
    for (const node of this.nodes) {
      for (const key of keys) {
        const entry = node.life.engine.live(key);
        if (entry === null) {
          const newest = this.#history.newest(key);
          const isLive = newest?.kind === "put" && this.#history.isAlive(newest, node.nowMs());
          const isDue = isLive && node.faultOf(key, newest.stamp) === null;
          if (isDue && node.mustHave(newest)) faults.push(`${node.settings.url} misses ${key}`);
          continue;
        }
        const fault = this.#history.faultOf(key, entry.stamp, entry.value.toString()) ?? node.faultOf(key, entry.stamp);
        if (fault !== null) faults.push(`${node.settings.url} has ${key} of ${nameOf(entry.stamp)}: ${fault}`);
      }
    }
    return faults;
  }

  get isDrained(): boolean {
    return this.nodes.every((node) => node.isDrained);
  }

  /** What waits at a node for another. */
  pending(from: number, to: number): number {
    return this.node(from).life.outbox.counts(destinationOf(urlOf(to))).pending;
  }

  /** The live value of a key on each node; null = it has none. */
  values(key: string): (string | null)[] {
    return this.nodes.map(({ life }) => life.engine.live(key)?.value.toString() ?? null);
  }

  /** When the entry on each node ends, in ms since the Unix epoch; null = it has none. */
  expiries(key: string): (number | null)[] {
    return this.nodes.map(({ life }) => life.engine.live(key)?.expiresAtMs ?? null);
  }
}

const ORDINARY: Omit<NodeSettings, "id" | "url" | "peers"> = {
  kind: "memory",
  maxSkewMs: 30_000,
  tombstoneMs: 600_000,
  buckets: 1_000_000,
  queueLimitBytes: 1e9,
  queueLimitKeys: 1e9,
  bootstrap: "none",
  compareEveryMs: 0,
};

export function urlOf(number: number): string {
  return `http://n${number}:1`;
}
