/**
 * Nodes on one Redis: one server, a Sentinel group, or a cluster. What Redis acknowledged and keeps is never lost, hidden or
 * undone by the nodes. What a failover of Redis itself may lose is known by `WAIT`, and counted apart.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { History } from "../support/history.ts";
import { RedisCluster } from "../support/redis-cluster.ts";
import { RedisSentinels } from "../support/redis-sentinel.ts";
import { RedisServer } from "../support/redis-server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { type Rules, STRICT } from "./checker.ts";
import { proxyFaults } from "./proxy-faults.ts";
import { RealNode } from "./soak-node.ts";
import { between, type Fault, type World, type WorldOptions } from "./world.ts";

export type RedisTopology = "one server" | "one server before SQLite" | "Sentinel" | "cluster";

/** How long a near cache may be behind what another node has written, on a busy machine, in ms. */
const NEAR_LAG_MS = 2_000;
/** For commands to a server that is up, and may be paused or busy. */
const PATIENT_MS = 30_000;
const ROLE_LIMIT_MS = 60_000;
const NEAR_NODE = "near";

/** The servers below the nodes. */
interface Servers extends AsyncDisposable {
  /** By node: where it finds Redis. */
  readonly urls: readonly string[];
  readonly faults: readonly Fault[];
  /** Waits until the servers have their roles again. */
  settle(): Promise<void>;
}

export async function redisWorld(topology: RedisTopology, options: WorldOptions): Promise<World> {
  const folder = tempFolder();
  const hasDatabase = topology === "one server before SQLite";
  // What waits in the outbox of one node is not known to another one on the same database.
  const names = hasDatabase ? ["alone"] : [NEAR_NODE, "far"];
  const servers = await startServers(topology, names.length, options);
  const nodes: RealNode[] = [];
  for (const [at, name] of names.entries()) {
    const flags = [`--redis-url=${servers.urls[at]}`, `--workers=${2 - (at % 2)}`];
    if (name === NEAR_NODE) flags.push("--near-cache=16MiB");
    if (hasDatabase) flags.push(`--backend-db=sqlite:${join(folder.path, "db")}`, "--backend-delete=true");
    nodes.push(await RealNode.start({ ...options, name, flags, folder: folder.path }));
  }
  const rules: Rules = {
    ...STRICT,
    lagMs: (read, newer) => (read.node === NEAR_NODE && newer.node !== NEAR_NODE ? NEAR_LAG_MS : 0),
  };
  return {
    name: `Redis, ${topology}`,
    nodes,
    faults: [...nodes.flatMap((node) => node.faults(options)), ...servers.faults],
    rules,
    patternsMayMiss: hasDatabase,
    keysOf(round) {
      const groups = [0, 1, 2, 3].map((group) => `r${round}:g${group}:`);
      const keys = groups.flatMap((group) => Array.from({ length: 12 }, (_, at) => `${group}${at}`));
      return { writes: keys, reads: keys, groups };
    },
    async settle() {
      await servers.settle();
      await Promise.all(nodes.map((node) => node.settle()));
    },
    finalChecks: async () => [],
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node.kill()));
      await servers[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

function startServers(topology: RedisTopology, nodes: number, options: WorldOptions): Promise<Servers> {
  if (topology === "Sentinel") return sentinels(nodes, options);
  return topology === "cluster" ? cluster(nodes, options) : oneServer(nodes, options);
}

/** It keeps what it acknowledged on its disk, so that nothing at all may be lost. */
async function oneServer(nodes: number, options: WorldOptions): Promise<Servers> {
  const { random } = options;
  const server = await RedisServer.start([
    ...["--appendonly", "yes", "--appendfsync", "always"],
    ...["--enable-protected-configs", "yes"],
  ]);
  const proxies = await Promise.all(Array.from({ length: nodes }, () => startTcpProxy(server.port)));
  const command = async (...words: string[]) => {
    await runCommand(server.port, words, PATIENT_MS);
  };
  const pick = (words: readonly string[]) => words[Math.floor(random() * words.length)] ?? "";
  return {
    urls: proxies.map(({ port }) => `redis://127.0.0.1:${port}`),
    faults: [
      ...proxies.flatMap((proxy, at) => proxyFaults(`way ${at} to Redis`, proxy, options)),
      {
        name: "Redis killed",
        run: async () => {
          await server.kill();
          await Bun.sleep(between(random, 0, 1_500));
          await server.up();
        },
      },
      { name: "Redis frozen", run: () => frozen(server, between(random, 200, 3_000)) },
      {
        name: "Redis full",
        run: () => withSetting(command, "maxmemory", "1", "0", random),
      },
      {
        name: "Redis paused",
        run: async () => {
          const forMs = Math.round(between(random, 200, 3_000));
          await command("CLIENT", "PAUSE", String(forMs), pick(["ALL", "WRITE"]));
          await Bun.sleep(forMs);
        },
      },
      { name: "Redis takes no writes", run: () => withSetting(command, "min-replicas-to-write", "1", "0", random) },
      { name: "Redis can't save", run: () => unableToSave(server, command, random) },
      {
        name: "64 MiB of another program",
        run: async () => {
          const value = "x".repeat(64 * 1024 * 1024);
          await command("SET", "others", value);
          await Promise.all([command("GET", "others"), command("GET", "others")]);
          await command("DEL", "others");
        },
      },
      { name: "Redis' scripts flushed", run: () => command("SCRIPT", "FLUSH") },
      { name: "Redis' clients cut", run: () => command("CLIENT", "KILL", "TYPE", "normal") },
      { name: "Redis' invalidations cut", run: () => command("CLIENT", "KILL", "TYPE", "pubsub") },
    ],
    settle: async () => {},
    async [Symbol.asyncDispose]() {
      for (const proxy of proxies) proxy[Symbol.dispose]();
      await server.stop();
    },
  };
}

type Command = (...words: string[]) => Promise<void>;

async function withSetting(
  command: Command,
  name: string,
  value: string,
  usual: string,
  random: () => number,
): Promise<void> {
  await command("CONFIG", "SET", name, value);
  await Bun.sleep(between(random, 200, 2_000));
  await command("CONFIG", "SET", name, usual);
}

/** As on a full disk: it refuses writes (`MISCONF`) because its last snapshot failed. */
async function unableToSave(server: RedisServer, command: Command, random: () => number): Promise<void> {
  const blocked = "not-a-file";
  mkdirSync(join(server.folder, blocked), { recursive: true });
  await command("CONFIG", "SET", "dbfilename", blocked);
  await command("CONFIG", "SET", "save", "3600 1");
  await command("BGSAVE");
  await Bun.sleep(between(random, 500, 2_500));
  await command("CONFIG", "SET", "save", "");
  await command("CONFIG", "SET", "dbfilename", "dump.rdb");
  await command("BGSAVE").catch(() => {});
}

async function sentinels(nodes: number, options: WorldOptions): Promise<Servers> {
  const group = await RedisSentinels.start();
  const servers = [group.primary, group.replica];
  const hasRoles = () => until("a primary with its replica", () => primaryOf(servers).then(isPair), ROLE_LIMIT_MS);
  return {
    urls: Array.from({ length: nodes }, () => group.url),
    faults: failovers(servers, () => primaryOf(servers), hasRoles, options),
    settle: hasRoles,
    [Symbol.asyncDispose]: () => group.stop(),
  };
}

async function cluster(nodes: number, options: WorldOptions): Promise<Servers> {
  const { random } = options;
  const all = await RedisCluster.start({ replicas: true });
  const hasRoles = () =>
    until("three primaries with their replicas", async () => (await clusterRoles(all)).every(Boolean), ROLE_LIMIT_MS);
  const somePrimary = async () => {
    const primaries = await primariesOf(all.nodes);
    return primaries[Math.floor(random() * primaries.length)] ?? null;
  };
  return {
    urls: Array.from({ length: nodes }, () => all.url),
    faults: [
      ...failovers(all.nodes, somePrimary, hasRoles, options),
      {
        name: "a replica takes over in order",
        run: async () => {
          const replicas = (await rolesOf(all.nodes)).filter(({ role }) => role === "slave");
          const chosen = replicas[Math.floor(random() * replicas.length)];
          if (chosen !== undefined) await runCommand(chosen.server.port, ["CLUSTER", "FAILOVER"]);
          await hasRoles();
        },
      },
      {
        name: "a slot moves",
        run: async () => {
          const slot = Math.floor(random() * 16_384);
          const from = await all.ownerOf(slot, all.nodes[0] ?? failed("no node"));
          const to = await somePrimary();
          if (from !== undefined && to !== null && from !== to) await all.moveSlot(slot, from, to);
        },
      },
    ],
    settle: hasRoles,
    [Symbol.asyncDispose]: () => all.stop(),
  };
}

/** A primary that dies or hangs, and is a replica when it is back. */
function failovers(
  servers: readonly RedisServer[],
  primary: () => Promise<RedisServer | null>,
  hasRoles: () => Promise<void>,
  { random, nowMs }: WorldOptions,
): Fault[] {
  const lose = async (history: History, away: (server: RedisServer) => Promise<void>) => {
    const server = await primary();
    if (server === null) return;
    const keptMs = await replicatedMs(server, nowMs);
    try {
      await away(server);
      await hasRoles();
    } finally {
      history.doubt(keptMs, nowMs());
    }
  };
  return [
    {
      name: "a primary killed",
      run: (history) =>
        lose(history, async (server) => {
          await server.kill();
          await until("another one is primary", async () => (await primariesOf(servers)).length > 0, ROLE_LIMIT_MS);
          await Bun.sleep(between(random, 1_500, 4_000));
          await server.up();
        }),
    },
    {
      name: "a primary frozen",
      run: (history) => lose(history, (server) => frozen(server, between(random, 200, 4_000))),
    },
  ];
}

/** Waits until the replica has what was written before. Gives when that was; -Infinity = it may miss anything. */
async function replicatedMs(server: RedisServer, nowMs: () => number): Promise<number> {
  const client = new Redis({ port: server.port, retryStrategy: null });
  client.on("error", () => {});
  try {
    const sinceMs = nowMs();
    // Every write moves the stream on that replicas acknowledge; this one needs no key of any slot.
    await client.call("PUBLISH", "soak", "mark");
    const replicas = Number(await client.call("WAIT", "1", "1000"));
    return replicas > 0 ? sinceMs : Number.NEGATIVE_INFINITY;
  } catch {
    return Number.NEGATIVE_INFINITY;
  } finally {
    client.disconnect();
  }
}

async function frozen(server: RedisServer, forMs: number): Promise<void> {
  server.freeze();
  await Bun.sleep(forMs);
  server.thaw();
}

interface ServerRole {
  readonly server: RedisServer;
  readonly role: string;
  readonly replicas: number;
  readonly isLinked: boolean;
}

async function rolesOf(servers: readonly RedisServer[]): Promise<ServerRole[]> {
  return Promise.all(
    servers.map(async (server) => {
      const text = String(await runCommand(server.port, ["INFO", "replication"]).catch(() => ""));
      return {
        server,
        role: /^role:(\w+)/m.exec(text)?.[1] ?? "away",
        replicas: Number(/^connected_slaves:(\d+)/m.exec(text)?.[1] ?? 0),
        isLinked: /^master_link_status:up/m.test(text),
      };
    }),
  );
}

async function primariesOf(servers: readonly RedisServer[]): Promise<RedisServer[]> {
  return (await rolesOf(servers)).filter(({ role }) => role === "master").map(({ server }) => server);
}

/** The only primary; null = there is none, or two. */
async function primaryOf(servers: readonly RedisServer[]): Promise<RedisServer | null> {
  const roles = await rolesOf(servers);
  const primaries = roles.filter(({ role }) => role === "master");
  const [primary] = primaries;
  if (primary === undefined || primaries.length > 1) return null;
  return roles.every(({ role, isLinked }) => role === "master" || isLinked) ? primary.server : null;
}

function isPair(primary: RedisServer | null): boolean {
  return primary !== null;
}

/** By node: whether it has its role, and sees a whole cluster. */
async function clusterRoles(all: RedisCluster): Promise<boolean[]> {
  const roles = await rolesOf(all.nodes);
  const primaries = roles.filter(({ role }) => role === "master");
  const states = await Promise.all(
    all.nodes.map(async ({ port }) => String(await runCommand(port, ["CLUSTER", "INFO"]).catch(() => ""))),
  );
  return [
    primaries.length === 3,
    ...primaries.map(({ replicas }) => replicas === 1),
    ...roles.map(({ role, isLinked }) => role === "master" || isLinked),
    ...states.map((state) => state.includes("cluster_state:ok")),
  ];
}

async function runCommand(port: number, words: readonly string[], commandTimeout = 2_000): Promise<unknown> {
  const client = new Redis({ port, retryStrategy: null, connectTimeout: 1_000, commandTimeout });
  client.on("error", () => {});
  const [name = "", ...args] = words;
  try {
    return await client.call(name, args);
  } finally {
    client.disconnect();
  }
}

function failed(message: string): never {
  throw new Error(message);
}
