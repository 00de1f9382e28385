/**
 * One run of a simulated mesh: some minutes of writes and faults, then peace, then every key of every node is looked at.
 * Everything follows from the seed.
 */
import { History, nameOf } from "./history.ts";
import { ModelNetwork } from "./model-network.ts";
import { ModelNode, type NodeSettings } from "./model-node.ts";
import { Random } from "./random.ts";
import { WorldClock } from "./world-clock.ts";

export interface SimulationResult {
  readonly seed: number;
  /** What the rule forbids; empty = all is well. */
  readonly faults: readonly string[];
  readonly mutations: number;
  readonly repairs: number;
  /** Entries that are on the nodes at the end, and that could be if nothing had been missed. */
  readonly present: number;
  readonly possible: number;
  readonly log: readonly string[];
}

/** What may happen in a run. */
interface Weather {
  readonly nodes: number;
  readonly keys: number;
  readonly durationMs: number;
  readonly writeEveryMs: number;
  readonly faultEveryMs: number;
  readonly isCalm: boolean;
  /** Nodes die and start and links are cut, but nothing makes room for something else: what is acknowledged is placed. */
  readonly keepsAll: boolean;
  readonly losesDisks: boolean;
  readonly hasRedis: boolean;
  /** Some puts come with `replicated=true`, as a peer of the original's kind would send them. */
  readonly hasPlainCalls: boolean;
  readonly isTight: boolean;
  readonly bootstraps: boolean;
  readonly maxSkewMs: number;
  readonly hasWildClock: boolean;
}

/** Seeds from here on have conditional writes and counters, too: the others stay what they were when they found something. */
export const CONDITIONS_FROM = 2_000_000;

const PEACE_MS = 30 * 60_000;
const STEP_MS = 5000;

/** `isTraced`: everything that happens is in the log. */
export async function simulate(seed: number, { isTraced = false } = {}): Promise<SimulationResult> {
  const run = new Simulation(seed, isTraced);
  return run.run();
}

class Simulation {
  readonly #random: Random;
  readonly #clock = new WorldClock();
  readonly #history = new History((mutation, key) => this.#nodes.some((node) => node.knows(mutation, key)));
  readonly #weather: Weather;
  readonly #network: ModelNetwork;
  readonly #nodes: ModelNode[] = [];
  readonly #keys: string[];
  readonly #log: string[] = [];
  readonly #faults: string[] = [];
  #isPeace = false;

  constructor(
    readonly seed: number,
    readonly isTraced: boolean,
  ) {
    const random = new Random(seed);
    this.#random = random;
    this.#weather = weatherOf(random);
    const { keys, nodes } = this.#weather;
    this.#keys = Array.from({ length: keys }, (_, at) => `${at % 2 === 0 ? "a" : "b"}:${at}`);
    this.#network = new ModelNetwork(this.#clock, random, {
      delayMs: random.pick([5, 50, 300, 1500]),
      lostRequest: random.pick([0, 0.02, 0.2]),
      lostResponse: random.pick([0, 0.02, 0.2]),
      duplicate: random.pick([0, 0.05, 0.3]),
      duplicateLateMs: random.pick([10, 1000, 60_000]),
    });
    const urls = Array.from({ length: nodes }, (_, at) => `http://n${at + 1}:1`);
    for (const [at, url] of urls.entries()) this.#nodes.push(this.#makeNode(url, at + 1, urls));
  }

  async run(): Promise<SimulationResult> {
    const { isCalm, durationMs } = this.#weather;
    for (const node of this.#nodes) node.start();
    if (isCalm) await this.#meetFirst();
    this.#every(this.#weather.writeEveryMs, () => this.#write());
    this.#every(this.#weather.faultEveryMs, () => (isCalm ? this.#disturbNetwork() : this.#disturb()));
    this.#every(700, () => this.#maintain());
    await this.#clock.runUntil(this.#clock.nowMs + durationMs);
    await this.#makePeace();
    await this.#look();
    return {
      seed: this.seed,
      faults: this.#faults,
      mutations: this.#history.size,
      repairs: this.#countRepairs(),
      ...this.#countPresent(),
      log: this.#log,
    };
  }

  #makeNode(url: string, id: number, urls: readonly string[]): ModelNode {
    const random = this.#random;
    const weather = this.#weather;
    const settings: NodeSettings = {
      id,
      url,
      // Some list themselves, too.
      peers: random.chance(0.3) ? urls : urls.filter((other) => other !== url),
      kind: weather.hasRedis && random.chance(0.5) ? "redis" : "memory",
      maxSkewMs: 30_000,
      tombstoneMs: weather.isCalm || weather.keepsAll ? 600_000 : random.pick([500, 10_000, 600_000]),
      buckets: weather.isCalm || weather.keepsAll ? 1_000_000 : random.pick([1, 4, 64]),
      queueLimitBytes: weather.isTight ? random.pick([500, 2000]) : 1e9,
      queueLimitKeys: weather.isTight ? random.pick([2, 4, 1000]) : 1e9,
      bootstrap: weather.bootstraps ? "peer" : "none",
      compareEveryMs: random.pick([0, 0, 20_000]),
    };
    const world = {
      clock: this.#clock,
      network: this.#network,
      random,
      history: this.#history,
      nodes: () => this.#nodes,
      log: (line: string) => this.#note(line),
      isTraced: this.isTraced,
    };
    const node = new ModelNode(settings, world);
    node.skewMs = Math.round((random.next() * 2 - 1) * weather.maxSkewMs);
    return node;
  }

  async #meetFirst(): Promise<void> {
    const haveMet = () =>
      this.#nodes.every(({ life }) =>
        life.replication.links.every(({ stats }) => stats.state === "up" || stats.state === "self"),
      );
    await this.#clock.runUntil(this.#clock.nowMs + 600_000, haveMet);
    // Each must have heard each of the others since it started, through all losses.
    await this.#clock.runUntil(this.#clock.nowMs + 60_000);
  }

  #write(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    if (!node.isAlive) return;
    const key = random.pick(this.#keys);
    const ttlMs = random.chance(0.3) ? random.whole(100, 20_000) : null;
    const dice = random.next();
    if (this.seed >= CONDITIONS_FROM && random.chance(0.4)) this.#writeDepending(node, key, ttlMs);
    else if (this.#weather.hasPlainCalls && dice < 0.1) node.put(key, random.whole(100, 1000), true);
    else if (dice < 0.65) node.put(key, ttlMs);
    else if (dice < 0.75) node.touch(key, ttlMs);
    else if (dice < 0.95) node.remove(key);
    else if (dice < 0.98) node.invalidate(random.pick(["a:*", "b:*", "*:1"]));
    else node.invalidate(null);
  }

  /** What looks at the stored entry first. */
  #writeDepending(node: ModelNode, key: string, ttlMs: number | null): void {
    const dice = this.#random.next();
    if (dice < 0.5) node.putIf(key, ttlMs, dice < 0.25);
    else if (dice < 0.8) node.increment(key);
    else node.touch(key, ttlMs);
  }

  #disturb(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    const dice = random.next();
    if (dice < 0.45) this.#disturbNetwork();
    else if (dice < 0.65) {
      if (node.isAlive && !this.#weather.keepsAll) node.life.engine.evict(random.pick(this.#keys));
    } else if (dice < 0.8) {
      this.#killOrStart(node);
    } else if (dice < 0.85 && this.#weather.hasWildClock) {
      node.skewMs = random.pick([-3_600_000, 90_000, 20_000, -20_000, 0]);
      this.#note(`${node.settings.url}: its clock is ${node.skewMs} ms apart`);
    } else if (dice < 0.9) {
      node.skewMs = Math.round((random.next() * 2 - 1) * this.#weather.maxSkewMs);
    }
  }

  #killOrStart(node: ModelNode): void {
    if (!node.isAlive) {
      this.#note(`${node.settings.url} starts`);
      node.start();
      return;
    }
    const losesDisk = this.#weather.losesDisks && this.#random.chance(0.3);
    this.#note(`${node.settings.url} is killed${losesDisk ? ", its disk is lost" : ""}`);
    node.kill(losesDisk);
    if (this.#random.chance(0.7)) node.start();
  }

  #disturbNetwork(): void {
    const random = this.#random;
    const [from, to] = [random.pick(this.#nodes).settings.url, random.pick(this.#nodes).settings.url];
    if (from === to) return;
    if (random.chance(0.5)) {
      this.#network.healAll();
      return;
    }
    this.#network.cut(from, to);
    if (random.chance(0.7)) this.#network.cut(to, from);
  }

  #maintain(): void {
    for (const node of this.#nodes) if (node.isAlive && this.#random.chance(0.5)) node.life.engine.maintain();
  }

  async #makePeace(): Promise<void> {
    this.#isPeace = true;
    this.#note("peace");
    this.#network.healAll();
    this.#network.faults = { delayMs: 20, lostRequest: 0, lostResponse: 0, duplicate: 0, duplicateLateMs: 0 };
    for (const node of this.#nodes) {
      node.skewMs = Math.max(-10_000, Math.min(10_000, node.skewMs));
      if (!node.isAlive) node.start();
    }
    const endMs = this.#clock.nowMs + PEACE_MS + (this.#weather.hasWildClock ? 3_700_000 : 0);
    // Copies of what was sent before may still come.
    await this.#clock.runUntil(this.#clock.nowMs + 65_000);
    while (this.#clock.nowMs < endMs && !this.#isDrained()) await this.#clock.runUntil(this.#clock.nowMs + STEP_MS);
    if (!this.#isDrained()) {
      this.#faults.push("after long peace something still waits");
      for (const { life, settings } of this.#nodes) {
        this.#note(`${settings.url} ${JSON.stringify(life.replication.stats())}`);
        for (const rows of life.outbox.disk.rows.values()) {
          for (const row of rows.values()) this.#note(`${settings.url} has waiting ${JSON.stringify(row)}`);
        }
      }
    }
    await this.#clock.runUntil(this.#clock.nowMs + STEP_MS);
  }

  #isDrained(): boolean {
    return this.#nodes.every((node) => node.isDrained);
  }

  async #look(): Promise<void> {
    this.#faults.push(...this.#history.faults);
    for (const node of this.#nodes) {
      const { life, settings } = node;
      for (const key of this.#keys) {
        const entry = life.engine.live(key);
        if (entry === null) {
          this.#lookForMissing(node, key);
          continue;
        }
        const fault = this.#history.faultOf(key, entry.stamp, entry.value.toString()) ?? node.faultOf(key, entry.stamp);
        if (fault !== null) this.#faults.push(`${settings.url} has ${key} of ${nameOf(entry.stamp)}: ${fault}`);
      }
    }
    for (const key of this.#keys) this.#compareExpiries(key);
    const { present, possible } = this.#countPresent();
    if (this.#weather.isCalm && this.#countRepairs() > 0) this.#faults.push("repairs, though nothing was lost");
    if (this.#weather.isCalm && present < possible) {
      this.#faults.push(`${possible - present} entries are missing, though nothing was evicted or restarted`);
    }
  }

  /** The same entry ends everywhere at the same time, where nothing was forgotten in between. */
  #compareExpiries(key: string): void {
    if (!this.#weather.isCalm) return;
    const ends = new Map<string, Set<number>>();
    for (const { life } of this.#nodes) {
      const entry = life.engine.live(key);
      if (entry === null) continue;
      const name = nameOf(entry.stamp);
      ends.set(name, (ends.get(name) ?? new Set()).add(entry.expiresAtMs));
    }
    for (const [name, times] of ends) {
      if (times.size > 1) this.#faults.push(`${key} of ${name} ends at different times: ${[...times].join(", ")}`);
    }
  }

  /** Whether a node misses what was acknowledged and had still to be told when it started. */
  #lookForMissing(node: ModelNode, key: string): void {
    const newest = this.#history.newest(key);
    if (!this.#weather.keepsAll || newest?.kind !== "put") return;
    const isLive = this.#history.isAlive(newest, node.nowMs());
    if (isLive && node.mustHave(newest) && !this.#history.hasTwin(newest, key))
      this.#faults.push(`${node.settings.url} misses ${key} of ${nameOf(newest.stamp)}`);
  }

  #countRepairs(): number {
    return this.#nodes.reduce((sum, { life }) => sum + life.replication.receiver.stats().repairs, 0);
  }

  #countPresent(): { present: number; possible: number } {
    let present = 0;
    let possible = 0;
    for (const key of this.#keys) {
      const newest = this.#history.newest(key);
      if (newest?.kind !== "put") continue;
      for (const node of this.#nodes) {
        const isLive = this.#history.isAlive(newest, node.nowMs());
        if (!isLive) continue;
        possible++;
        if (node.life.engine.live(key) !== null) present++;
        else if (this.#weather.isCalm) this.#note(`${node.settings.url} misses ${key} of ${nameOf(newest.stamp)}`);
      }
    }
    return { present, possible };
  }

  #every(ms: number, work: () => void): void {
    const next = () => {
      this.#clock.after(this.#random.next() * 2 * ms, () => {
        if (this.#isPeace) return;
        work();
        next();
      });
    };
    next();
  }

  #note(line: string): void {
    this.#log.push(`${this.#clock.nowMs % 100_000_000} ${line}`);
  }
}

function weatherOf(random: Random): Weather {
  const isCalm = random.chance(0.2);
  const keepsAll = !isCalm && random.chance(0.3);
  const isRough = !isCalm && !keepsAll;
  const hasPlainCalls = isRough && random.chance(0.2);
  return {
    isCalm,
    keepsAll,
    nodes: random.pick([2, 3, 3, 4]),
    keys: random.pick([2, 5, 10]),
    durationMs: random.pick([20_000, 60_000, 180_000]),
    writeEveryMs: random.pick([100, 500, 2000]),
    faultEveryMs: random.pick([500, 3000, 10_000]),
    losesDisks: isRough && random.chance(0.2),
    hasRedis: isRough && (hasPlainCalls || random.chance(0.3)),
    isTight: isRough && random.chance(0.3),
    bootstraps: random.chance(0.4),
    maxSkewMs: random.pick([0, 1000, 14_000]),
    hasWildClock: isRough && random.chance(0.15),
    hasPlainCalls,
  };
}
