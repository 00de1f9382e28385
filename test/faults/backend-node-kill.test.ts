/** FAULTS 1: a node that is killed at any moment loses no acknowledged write or delete, and puts no older one over a newer one. */

import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { SQL } from "bun";
import { needing } from "../support/needing.ts";
import { callsOf } from "../support/node-calls.ts";
import { startPostgres } from "../support/postgres.ts";
import { printedSeed, randomOf } from "../support/random.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { Ledger, startWriteLoad } from "../support/write-load.ts";

const WRITERS = { connections: 8, keysEach: 25, deleteShare: 0.1 };
const FLAGS = ["--addr=127.0.0.1:0", "--entry-memory=32MiB", "--write-behind-delay=20ms", "--backend-delete=true"];

afterEach(endServed);

/**
 * Kills nodes under load, each on the data directory of the one before, and compares every key that was ever acknowledged
 * with what the next one answers, and with the database in the end.
 */
async function killAndCompare(
  kills: number,
  database: string,
  readAll: () => Promise<Map<string, number>>,
  flags: readonly string[] = [],
) {
  using folder = tempFolder();
  const random = randomOf(printedSeed(`${kills} kills of nodes before ${new URL(database).protocol}`));
  const ledger = new Ledger();
  const start = (kill: number) =>
    serve([
      ...FLAGS,
      ...flags,
      `--data-dir=${folder.path}`,
      `--backend-db=${database}`,
      `--workers=${kill % 3 === 0 ? 2 : 1}`,
    ]);
  for (let kill = 0; kill < kills; kill++) {
    const node = await start(kill);
    const found = await callsOf(node.port).values(ledger.keys());
    expect(ledger.mistakes(found)).toEqual([]);
    const load = startWriteLoad(node.port, ledger, { ...WRITERS, random });
    await Bun.sleep(200 + random() * 300);
    node.signal("SIGKILL");
    await load.over;
    expect((await node.finished()).stderr).not.toContain("failed");
  }
  const last = await start(kills);
  last.signal("SIGTERM");
  expect(await last.finished()).toMatchObject({ exitCode: 0, stderr: "" });
  expect(ledger.mistakes(await readAll())).toEqual([]);
  expect(ledger.keys().length).toBeGreaterThan(150);
  expect([...ledger.answers.keys()]).toEqual([200]);
}

needing("postgres").test(
  "20 kills under write load before PostgreSQL",
  async () => {
    await using postgres = await startPostgres(["fsync=off"]);
    const sql = new SQL({ url: postgres.url, adapter: "postgres", max: 1 });
    await killAndCompare(20, postgres.url, async () => {
      const rows = await sql`SELECT key, value::text AS value FROM servcache_entries`;
      return new Map(rows.map(({ key, value }: { key: string; value: string }) => [key, Number(value)]));
    });
    await sql.close({ timeout: 0 });
  },
  300_000,
);

async function readSqlite(file: string): Promise<Map<string, number>> {
  using database = new Database(file, { readonly: true });
  const rows = database.query<{ key: string; value: string }, []>("SELECT key, value FROM servcache_entries").all();
  return new Map(rows.map(({ key, value }) => [key, Number(value)]));
}

test("10 kills under write load before SQLite", async () => {
  using folder = tempFolder();
  const file = join(folder.path, "shop.db");
  await killAndCompare(10, `sqlite:${file}`, () => readSqlite(file));
}, 300_000);

needing("redis-server").test(
  "10 kills under write load of nodes whose entries are in Redis",
  async () => {
    using folder = tempFolder();
    const redis = await RedisServer.start();
    try {
      const file = join(folder.path, "shop.db");
      await killAndCompare(10, `sqlite:${file}`, () => readSqlite(file), [
        `--redis-url=${redis.url}`,
        "--redis-command-timeout=1m",
      ]);
    } finally {
      await redis.stop();
    }
  },
  300_000,
);
