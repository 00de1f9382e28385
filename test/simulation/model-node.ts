/** One node of the simulated world: the real replication, on a model of everything else. */

import { Cache } from "../../src/cache/cache.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import { KeyGate } from "../../src/cache/key-gate.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { RecentPuts } from "../../src/cache/recent-puts.ts";
import type { Completion } from "../../src/model/completion.ts";
import { JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import { keyOf } from "../../src/model/key.ts";
import { hasValue, type Mutation } from "../../src/model/mutation.ts";
import { isNewer, type Stamp, toVersion, type Version } from "../../src/model/stamp.ts";
import { Hub, type HubOptions } from "../../src/node/hub.ts";
import { NodeState } from "../../src/replication/node-state.ts";
import { destinationOf, peerDestinationOf } from "../../src/replication/peer-rows.ts";
import { Replication } from "../../src/replication/replication.ts";
import { decodeMessage } from "../../src/replication/wire/message.ts";
import type { Awaitable } from "../../src/runtime/awaitable.ts";
import type { Scheduler } from "../../src/runtime/scheduler.ts";
import { putIn } from "../support/put-in.ts";
import { type History, isTouch, nameOf } from "./history.ts";
import { ModelEngine, ModelMemory } from "./model-engine.ts";
import type { ModelNetwork } from "./model-network.ts";
import { ModelDisk, ModelOutbox } from "./model-outbox.ts";
import type { Random } from "./random.ts";
import type { WorldClock } from "./world-clock.ts";

const NOTHING = new ModelMemory();
const OLDEST: Stamp = { version: 0 as Version, nodeId: 0 };

export interface NodeSettings {
  readonly id: number;
  readonly url: string;
  readonly peers: readonly string[];
  readonly kind: "memory" | "redis";
  readonly maxSkewMs: number;
  readonly tombstoneMs: number;
  readonly buckets: number;
  readonly queueLimitBytes: number;
  readonly queueLimitKeys: number;
  readonly bootstrap: "peer" | "none";
  readonly compareEveryMs: number;
}

interface World {
  readonly clock: WorldClock;
  readonly network: ModelNetwork;
  readonly random: Random;
  readonly history: History;
  /** All of them. */
  readonly nodes: () => readonly ModelNode[];
  readonly log: (line: string) => void;
  /** Whether everything that happens is to be in the log. */
  readonly isTraced: boolean;
}

/** What lives as long as the process. */
interface Life {
  isOver: boolean;
  readonly engine: ModelEngine;
  readonly outbox: ModelOutbox;
  readonly clock: HybridClock;
  readonly invalidations: RecentInvalidations;
  readonly replication: Replication;
  readonly cache: Cache;
  /** The newest put of each key that came with `replicated=true`. */
  readonly plain: Map<string, Stamp>;
}

export class ModelNode {
  /** Of its clock against the world's, in ms. */
  skewMs = 0;
  #memory = new ModelMemory();
  #disk = new ModelDisk();
  #life: Life | null = null;

  constructor(
    readonly settings: NodeSettings,
    private readonly world: World,
  ) {}

  get isAlive(): boolean {
    return this.#life !== null;
  }

  get life(): Life {
    if (this.#life === null) throw new Error(`${this.settings.url} is not alive`);
    return this.#life;
  }

  nowMs(): number {
    return this.world.clock.nowMs + this.skewMs;
  }

  /** What the life before had: its answers may still be under way when the next begins. Names of stamps. */
  #toldBefore = new Set<string>();
  /** What it will be told, or has kept, of what was made before it started: names of stamps. */
  #owed = new Set<string>();
  /** Mutations made before it started. */
  #startedAt = 0;

  start(): void {
    const { settings, world } = this;
    this.#owed = owedAmong(world.nodes(), this, this.#toldBefore);
    this.#startedAt = world.history.size;
    if (settings.kind === "memory") this.#memory = new ModelMemory();
    let life: Life | null = null;
    const isOver = () => life?.isOver === true;
    const scheduler: Scheduler = {
      nowMs: () => this.nowMs(),
      monotonicMs: () => world.clock.nowMs,
      after: (delayMs, run) => world.clock.after(delayMs, () => isOver() || run()),
    };
    const pause = () => new Promise<void>((resolve) => scheduler.after(world.random.whole(0, 2), resolve));
    const engine = new ModelEngine(this.#memory, {
      kind: settings.kind,
      nowMs: () => this.nowMs(),
      buckets: settings.buckets,
      pause,
      trace: (line) => world.isTraced && world.log(`${settings.url}: ${line}`),
      onConditional: (key, { value: bytes, contentType, ...entry }) => {
        if (entry.stamp.nodeId !== settings.id) return;
        const value = { bytes, contentType };
        world.history.made({ kind: "put", key, value, ...entry, isReplicated: false });
      },
    });
    const outbox = new ModelOutbox(this.#disk, {
      nowMs: () => this.nowMs(),
      defer: (run) => scheduler.after(1, run),
      limitBytes: 1e9,
      onCommit: (rows) => {
        // What is newer on another node is kept with that one's stamp.
        for (const { stamp } of rows.map(({ mutation }) => mutation)) {
          if (stamp.nodeId === settings.id) world.history.kept(stamp);
        }
      },
    });
    const clock = HybridClock.create(() => this.nowMs());
    clock.observe(toVersion(Math.max(outbox.newestVersion, new NodeState(outbox).seenVersion)));
    const invalidations = RecentInvalidations.create();
    const replication = new Replication({
      onApply: () => {},
      nodeId: settings.id,
      peers: settings.peers,
      token: null,
      keys: [],
      maxSkewMs: settings.maxSkewMs,
      tombstoneMs: settings.tombstoneMs,
      bootstrap: settings.bootstrap,
      bootstrapTimeoutMs: 60_000,
      compareEveryMs: settings.compareEveryMs,
      queueLimitBytes: settings.queueLimitBytes,
      queueLimitKeys: settings.queueLimitKeys,
      bytesPerSecond: 0,
      ...{ outbox, engine, clock, invalidations, scheduler },
      random: world.random.next,
      transport: world.network.transportOf(settings.url),
      resolve: async () => [],
      letOthersRun: () => Promise.resolve(),
      log: (line) => world.log(`${settings.url}: ${line}`),
      tuning: {
        heartbeatMs: 3000,
        callTimeoutMs: 3000,
        backlogRows: 5,
        batchRows: 4,
        backoffMaxMs: 4000,
        window: 3,
        unheardSkewMs: settings.maxSkewMs,
      },
    });
    const traits = { deletes: false, tombstoneMs: settings.tombstoneMs, refreshAheadMs: 0 };
    const hub = new WatchedHub(
      { ...{ outbox, scheduler }, backend: null, peers: replication, writesThrough: false, log: () => {} },
      world.history,
    );
    const cache = new Cache({
      ...{ engine, versions: clock, nodeId: settings.id },
      nowMs: () => this.nowMs(),
      defaultTtlMs: null,
      link: {
        ...{ traits, commitLog: hub, backingStore: null, invalidations },
        recentPuts: RecentPuts.create(),
        // A node that is gone waits for nothing.
        gate: KeyGate.create(() => new Promise((resolve) => setImmediate(() => isOver() || resolve()))),
      },
    });
    world.history.started(settings.id);
    life = { isOver: false, engine, outbox, clock, invalidations, replication, cache, plain: hub.plain };
    this.#life = life;
    world.network.listen(settings.url, async (from, request) => {
      if (world.isTraced) world.log(`${settings.url} hears ${from}: ${summaryOf(request.body)}`);
      const response = await replication.receive({
        body: request.body ?? Buffer.alloc(0),
        authorization: null,
        remoteAddress: "127.0.0.1",
      });
      world.log(
        `${settings.url} answers ${from}: ${response.status} ${response.status === 200 ? summaryOf(response.body) : ""}`,
      );
      if (isOver()) throw new Error("the node is gone");
      return response;
    });
    replication.start();
  }

  /** The process ends at once; its disk stays, unless that is lost, too. */
  kill(losesDisk: boolean): void {
    const { life, settings, world } = this;
    life.isOver = true;
    this.#life = null;
    this.#toldBefore = new Set([...this.#memory.entries.values()].map(({ stamp }) => nameOf(stamp)));
    world.network.listen(settings.url, null);
    if (!losesDisk) return;
    for (const rows of this.#disk.rows.values()) {
      for (const { mutation } of rows.values()) world.history.lost(mutation);
    }
    // A node that lost its memory and its disk can't know that its clock was ahead of the others' when it stamped these;
    // where another has started anew as well, and its clock is behind, nobody of the two does.
    world.history.lostDisk(settings.id);
    world.history.lostSince(settings.id, versionAt(world.clock.nowMs - settings.maxSkewMs));
    this.#disk = new ModelDisk();
  }

  /** Whether it has a mutation, or something newer of the key, or has to send one of them on. */
  knows({ stamp: wanted }: Mutation, key: string): boolean {
    const isAsNew = (stamp: Stamp | null) => stamp !== null && !isNewer(wanted, stamp);
    const { entries, tombstones, floor } = this.isAlive || this.settings.kind === "redis" ? this.#memory : NOTHING;
    if (isAsNew(floor) || isAsNew(entries.get(key)?.stamp ?? null)) return true;
    if (isAsNew(tombstones.get(key)?.stamp ?? null)) return true;
    if (this.isAlive && isAsNew(this.life.invalidations.covering(keyOf(key), OLDEST))) return true;
    for (const rows of this.#disk.rows.values()) {
      for (const { mutation } of rows.values()) if (isAsNew(mutation.stamp) && isAbout(mutation, key)) return true;
    }
    return false;
  }

  put(key: string, ttlMs: number | null, isReplicated = false): void {
    const value = jsonValue(`"${key} ${this.world.random.next()}"`);
    this.#ask(putIn(this.life.cache, keyOf(key), value, ttlMs ?? 0, null, { isReplicated }));
  }

  /** `isPresent`: over whatever is there; else only where nothing is. */
  putIf(key: string, ttlMs: number | null, isPresent: boolean): void {
    const condition = { kind: isPresent ? "present" : "absent" } as const;
    const count = String(this.world.random.whole(1, 1_000_000_000));
    this.#ask(putIn(this.life.cache, keyOf(key), jsonValue(count), ttlMs ?? 0, condition));
  }

  /** A key with a count: what `putIf` put, or nothing. */
  increment(key: string): void {
    this.#ask(this.life.cache.increment(keyOf(key), this.world.random.whole(1, 1_000_000), null));
  }

  touch(key: string, ttlMs: number | null): void {
    this.#ask(this.life.cache.touch(keyOf(key), ttlMs ?? 0, null));
  }

  remove(key: string): void {
    this.#ask(this.life.cache.delete(keyOf(key), null));
  }

  invalidate(pattern: string | null): void {
    const { cache } = this.life;
    this.#ask(pattern === null ? cache.clear() : cache.deleteMatching(Glob.parse(pattern)));
  }

  /** Nothing waits for a peer. */
  get isDrained(): boolean {
    return [...this.#disk.rows].every(([queue, rows]) => peerDestinationOf(queue) === null || rows.size === 0);
  }

  /** Whether a stamp of this node was given when it knew what a disk before had known: see `OwnRows`. */
  isSureOf({ version, nodeId }: Stamp): boolean {
    return nodeId !== this.settings.id || version > (new NodeState(this.#disk).unsureVersion ?? 0);
  }

  /** Whether nothing but its expiry can be why a put is not here. */
  mustHave(mutation: Mutation): boolean {
    if (!this.world.nodes().every((node) => node.isSureOf(mutation.stamp))) return false;
    return this.#owed.has(nameOf(mutation.stamp)) || this.world.history.placeOf(mutation) >= this.#startedAt;
  }

  /** What waits on its disk for another, or for any: names of stamps. */
  owes(destination: string | null): string[] {
    const names: string[] = [];
    for (const [queue, rows] of this.#disk.rows) {
      const peer = peerDestinationOf(queue);
      if (peer === null || (destination !== null && peer !== destination)) continue;
      for (const { mutation } of rows.values()) {
        if (hasValue(mutation)) names.push(nameOf(mutation.stamp));
      }
    }
    return names;
  }

  /** What is older here than what this life took of a peer of the original's kind; null = all is well. */
  faultOf(key: string, stamp: Stamp): string | null {
    const plain = this.life.plain.get(key);
    return plain === undefined || !isNewer(plain, stamp) ? null : `it came after the plain put ${nameOf(plain)}`;
  }

  /** Nobody waits for the answer: a killed node gives none. */
  #ask(answer: Awaitable<unknown>): void {
    void Promise.resolve(answer).catch(() => {});
  }
}

/** The real hub, which tells the history of what it is given, and of what it has kept. */
class WatchedHub extends Hub {
  /** The newest put of each key that came with `replicated=true`. */
  readonly plain = new Map<string, Stamp>();

  constructor(
    options: HubOptions,
    private readonly history: History,
  ) {
    super(options);
  }

  override commit(mutation: Mutation, completion: Completion<void>): boolean {
    this.#made(mutation);
    const isDone = super.commit(mutation, {
      done: () => {
        this.#committed(mutation);
        completion.done();
      },
      failed: (error) => completion.failed(error),
    });
    if (isDone) this.#committed(mutation);
    return isDone;
  }

  #made(mutation: Mutation): void {
    this.history.made(mutation);
    if (!mutation.isReplicated || mutation.kind !== "put") return;
    const known = this.plain.get(mutation.key);
    if (known === undefined || isNewer(mutation.stamp, known)) this.plain.set(mutation.key, mutation.stamp);
  }

  /** What came with `replicated=true` is for this node alone. */
  #committed(mutation: Mutation): void {
    if (!mutation.isReplicated && !isTouch(mutation)) this.history.committed(mutation.stamp);
  }
}

function jsonValue(json: string): NewValue {
  const bytes = Buffer.from(json);
  return { source: bytes, start: 0, end: bytes.length, attributes: { contentType: JSON_CONTENT_TYPE } };
}

function isAbout(told: Mutation, key: string): boolean {
  if (told.kind !== "invalidate") return told.key === key;
  const { bytes, length } = keyOf(key);
  return told.pattern === null || Glob.parse(told.pattern).matches(bytes, 0, length);
}

function summaryOf(body: Buffer | null): string {
  if (body === null) return "";
  const { kind, mutations } = decodeMessage(body);
  const told = mutations.map(
    (mutation) =>
      `${mutation.kind} ${"key" in mutation ? mutation.key : mutation.pattern} ${mutation.stamp.version}/${mutation.stamp.nodeId}`,
  );
  return `${kind} ${headOf(body)} ${told.join(", ")}`;
}

/** The head's JSON, as it is on the wire: these messages are too small to be packed. */
function headOf(body: Buffer): string {
  return body[3] === 0 ? body.toString("latin1", 5, 5 + (body[4] ?? 0)) : "";
}

/** What other nodes have yet to tell a node, and what it has yet to tell others: names of stamps. */
function owedAmong(nodes: readonly ModelNode[], node: ModelNode, toldBefore: ReadonlySet<string>): Set<string> {
  const destination = destinationOf(node.settings.url);
  const others = nodes.filter((other) => other !== node).flatMap((other) => other.owes(destination));
  return new Set([...others.filter((name) => !toldBefore.has(name)), ...node.owes(null)]);
}
