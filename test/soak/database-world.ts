/** One node before PostgreSQL or MariaDB: nothing acknowledged is lost, undone or hidden, in either write mode. */
import { SQL } from "bun";
import type { History } from "../support/history.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { STRICT } from "./checker.ts";
import { proxyFaults } from "./proxy-faults.ts";
import { RealNode } from "./soak-node.ts";
import { between, type Fault, type World, type WorldOptions } from "./world.ts";

export type DatabaseKind = "PostgreSQL" | "MariaDB";

const GROUPS = 4;
const KEYS_PER_GROUP = 12;

export async function databaseWorld(kind: DatabaseKind, mode: "behind" | "through", options: WorldOptions) {
  const folder = tempFolder();
  const database = kind === "PostgreSQL" ? await startPostgres() : await startMariaDb();
  const proxy = await startTcpProxy(database.port);
  const url = new URL(database.url);
  url.port = String(proxy.port);
  const node = await RealNode.start({
    ...options,
    name: "node",
    folder: folder.path,
    flags: [
      "--entry-memory=32MiB",
      `--workers=${mode === "behind" ? 2 : 1}`,
      `--backend-db=${url.href}`,
      `--write-mode=${mode}`,
      "--backend-delete=true",
      "--write-behind-delay=20ms",
      "--backend-timeout=1s",
    ],
  });
  const world: World = {
    name: `${kind}, ${mode}`,
    nodes: [node],
    faults: [
      ...node.faults(options),
      ...proxyFaults("way to the database", proxy, options),
      ...serverFaults(database, node, options),
    ],
    rules: STRICT,
    patternsMayMiss: true,
    keysOf(round) {
      const groups = Array.from({ length: GROUPS }, (_, group) => `r${round}:g${group}:`);
      const keys = groups.flatMap((group) => Array.from({ length: KEYS_PER_GROUP }, (_, at) => `${group}${at}`));
      return { writes: keys, reads: keys, groups };
    },
    settle: () => node.settle(),
    finalChecks: (history, keys) => readRows(history, database, keys),
    async [Symbol.asyncDispose]() {
      await node.kill();
      proxy[Symbol.dispose]();
      await database[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
  return world;
}

function serverFaults(database: TestServer, node: RealNode, { random }: WorldOptions): Fault[] {
  const freeze = async (forMs: number, meanwhile: () => Promise<void>) => {
    const stopped = processesOf(database.process.pid);
    for (const pid of stopped) process.kill(pid, "SIGSTOP");
    try {
      await Bun.sleep(forMs);
      await meanwhile();
    } finally {
      for (const pid of stopped) if (isAlive(pid)) process.kill(pid, "SIGCONT");
    }
  };
  return [
    {
      name: "database killed",
      run: async () => {
        await database.process.stop();
        await Bun.sleep(between(random, 0, 1_500));
        await database.process.start();
      },
    },
    { name: "database frozen", run: () => freeze(between(random, 300, 4_000), async () => {}) },
    {
      name: "node killed while the database is frozen",
      run: () =>
        freeze(between(random, 100, 1_500), async () => {
          await node.kill();
          await node.start();
        }),
    },
  ];
}

/** A server and its children: PostgreSQL has a process for each session. */
function processesOf(pid: number): number[] {
  const { stdout } = Bun.spawnSync(["ps", "-o", "pid=", "--ppid", String(pid)]);
  const children = stdout.toString().trim().split(/\s+/).filter(Boolean).map(Number);
  return [pid, ...children];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What the database has in the end is read as if one more client had asked for it. */
async function readRows(history: History, database: TestServer, keys: readonly string[]): Promise<string[]> {
  const adapter = database.url.startsWith("postgres") ? "postgres" : "mysql";
  const sql = new SQL({ url: database.url, adapter, max: 1 });
  const reads = keys.map((key) => history.begin({ client: "final", node: "database", key, kind: "get", value: null }));
  const text = adapter === "postgres" ? "value::text" : "CAST(value AS CHAR)";
  const keyText = adapter === "postgres" ? "key" : "`key`";
  const rows: { key: string; value: string }[] = await sql.unsafe(
    `SELECT ${keyText} AS ${keyText}, ${text} AS value FROM servcache_entries`,
  );
  await sql.close({ timeout: 0 });
  const found = new Map(rows.map(({ key, value }) => [String(key), Number(value)]));
  for (const read of reads) {
    read.value = found.get(read.key) ?? null;
    history.end(read, "ok");
  }
  return [];
}
