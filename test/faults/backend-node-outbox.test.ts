/** FAULTS 2, 7, 8 and 9: what whole nodes keep, refuse, set aside and bring out, before SQLite and a proxy that is shut. */

import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type HttpStore, startHttpStore } from "../support/http-store.ts";
import { callsOf, type NodeCalls } from "../support/node-calls.ts";
import { randomOf } from "../support/random.ts";
import { endServed, runMain, type ServedNode, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { Ledger, startWriteLoad } from "../support/write-load.ts";

/** Starting a node takes a while where other tests run beside this one. */
const LONG_MS = 300_000;
const WRITERS = { connections: 6, keysEach: 50 };

let folder: TempFolder;
let store: HttpStore;

beforeEach(() => {
  folder = tempFolder();
  store = startHttpStore();
});
afterEach(async () => {
  await endServed();
  store[Symbol.dispose]();
  folder[Symbol.dispose]();
});

interface Started {
  readonly node: ServedNode;
  readonly calls: NodeCalls;
}

async function start(database: string, flags: readonly string[]): Promise<Started> {
  const node = await serve([...flagsFor(database), ...flags]);
  return { node, calls: callsOf(node.port) };
}

function flagsFor(database: string): string[] {
  const data = `--data-dir=${join(folder.path, "data")}`;
  return ["--addr=127.0.0.1:0", "--entry-memory=64MiB", data, `--backend-db=${database}`];
}

const shop = () => join(folder.path, "shop.db");
const sqlite = () => `sqlite:${shop()}`;

function inSqlite(): Map<string, number> {
  using database = new Database(shop(), { readonly: true });
  const rows = database.query<{ key: string; value: string }, []>("SELECT key, value FROM servcache_entries").all();
  return new Map(rows.map(({ key, value }) => [key, Number(value)]));
}

function inStore(): Map<string, number> {
  return new Map([...store.entries].map(([key, { body }]) => [key, Number(body.toString())]));
}

async function outboxOf(calls: NodeCalls): Promise<{ pending: number; dead: number }> {
  return (await calls.json("/api/stats")).outbox.queues.backend ?? { pending: 0, dead: 0 };
}

describe.each([1, 2])("a node of %d threads that is stopped under load", (workers) => {
  const flags = [`--workers=${workers}`, "--write-behind-delay=1h"];

  test(
    "answers what it has accepted, brings out what waits, and ends with 0",
    async () => {
      const { node } = await start(sqlite(), flags);
      const ledger = new Ledger();
      const load = startWriteLoad(node.port, ledger, { ...WRITERS, random: randomOf(1) });
      await until("writes go on", () => ledger.acknowledgements > 500);
      node.signal("SIGTERM");
      expect(await load.over).toBe(0);
      expect(await node.finished()).toMatchObject({ exitCode: 0, stderr: "" });
      expect([...ledger.answers.keys()]).toEqual([200]);
      expect(ledger.mistakes(inSqlite())).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "keeps what the database does not take in time, says how much, and brings it out at the next start",
    async () => {
      store.answer = () => new Response("mending", { status: 503 });
      const { node } = await start(store.url, [...flags, "--drain-timeout=200ms"]);
      const ledger = new Ledger();
      const load = startWriteLoad(node.port, ledger, { ...WRITERS, random: randomOf(2) });
      await until("writes go on", () => ledger.acknowledgements > 200);
      node.signal("SIGTERM");
      expect(await load.over).toBe(0);
      const { exitCode, stderr } = await node.finished();
      expect(exitCode).toBe(0);
      expect(stderr).toContain(`${ledger.keys().length} writes have not reached the database: kept`);
      store.answer = null;
      const next = await start(store.url, [`--workers=${workers}`]);
      expect(ledger.mistakes(await next.calls.values(ledger.keys()))).toEqual([]);
      await until("all is brought out", () => ledger.mistakes(inStore()).length === 0);
    },
    LONG_MS,
  );
});

describe.each([1, 2])("a node of %d threads whose database takes nothing", (workers) => {
  test(
    "refuses writes when its outbox is full, changes nothing by them, and goes on when there is room",
    async () => {
      store.answer = () => new Response("mending", { status: 503 });
      const limits = ["--outbox-max=1MiB", "--write-behind-delay=10ms", "--stale-if-error=1h"];
      const { calls } = await start(store.url, [`--workers=${workers}`, ...limits]);
      const large = "x".repeat(20_000);
      const accepted: string[] = [];
      let wasDegraded = false;
      let refusal = await calls.put("first", large);
      for (let number = 0; refusal.status === 200; number++) {
        refusal = await calls.put(`k${number}`, large);
        if (refusal.status === 200) accepted.push(`k${number}`);
        const { outbox } = await calls.json("/health");
        if (outbox.status === "degraded") wasDegraded = true;
        else expect(outbox.bytes).toBeLessThan(0.8 * outbox.limit_bytes);
      }
      expect([refusal.status, refusal.code, refusal.headers.get("retry-after")]).toEqual([503, "ERR_OUTBOX_FULL", "1"]);
      expect([wasDegraded, accepted.length > 40]).toEqual([true, true]);
      const again = await Promise.all([
        calls.put("k0", large.replace("x", "y")),
        calls.put("refused", large),
        calls.call("PATCH", "/api/cache/refused-counter", { body: '{"increment":1}' }),
        calls.call("PUT", "/api/cache/refused-bytes", { body: large }),
      ]);
      // A counter needs the database first; it fails in another way, and changes nothing either.
      expect(again.map(({ status }) => status)).toEqual([503, 503, 502, 503]);
      expect((await calls.get("k0")).text).toBe(JSON.stringify({ key: "k0", value: large }));
      for (const key of ["refused", "refused-counter", "refused-bytes"])
        expect((await calls.get(key)).status).toBe(502);
      expect((await calls.remove("k0")).status).toBe(200);
      store.answer = null;
      await until("there is room", async () => (await calls.put("later", 1)).status === 200);
      await until("all is brought out", async () => (await outboxOf(calls)).pending === 0);
      expect([...store.entries.keys()].sort()).toEqual([...accepted, "first", "later"].sort());
      expect((await calls.get("never-seen")).code).toBe("ERR_NOT_FOUND");
      expect((await calls.json("/health")).status).toBe("ok");
    },
    LONG_MS,
  );
});

describe.each([1, 2])("a node of %d threads whose database refuses a row", (workers) => {
  test(
    "sets the row aside, brings out the others, and retries or drops it when it is told to",
    async () => {
      new Database(shop()).run(
        `CREATE TABLE servcache_entries (key TEXT NOT NULL PRIMARY KEY, value TEXT CHECK (value <> '"bad"'), bytes BLOB,
        content_type TEXT NOT NULL, version INTEGER NOT NULL, updated_at TEXT)`,
      );
      const { calls } = await start(sqlite(), [
        `--workers=${workers}`,
        "--write-behind-attempts=2",
        "--write-behind-delay=5ms",
      ]);
      for (let number = 0; number < 50; number++) await calls.put(`good:${number}`, number);
      for (const key of ["b1", "b2", "b3"]) expect((await calls.put(key, "bad")).status).toBe(200);
      for (let number = 50; number < 100; number++) await calls.put(`good:${number}`, number);
      await until("the bad ones are set aside", async () => (await outboxOf(calls)).dead === 3);
      await until("the others are written", async () => (await outboxOf(calls)).pending === 0);
      expect(inSqlite().size).toBe(100);
      const { dead, cursor } = await calls.json("/api/outbox/dead");
      expect([dead.length, cursor]).toEqual([3, null]);
      expect(dead[0]).toMatchObject({
        kind: "put",
        content_type: "application/json",
        value_bytes: 5,
        attempts: 2,
        reason: expect.stringContaining("CHECK"),
      });
      const idOf = (key: string) => dead.find((letter: { key: string }) => letter.key === key).id;
      // A newer write of the key takes its place; the table is mended for the second one; the third is given up.
      await calls.put("b1", "good");
      await until("it is written", () => inSqlite().has("b1"));
      expect((await outboxOf(calls)).dead).toBe(2);
      const retried = await calls.call("POST", `/api/outbox/dead?id=${idOf("b2")}`);
      expect(retried.text).toBe('{"status":"success","retried":1}');
      await until("it is refused again", async () => (await outboxOf(calls)).dead === 2);
      const dropped = await calls.call("DELETE", "/api/outbox/dead?all=true");
      expect(dropped.text).toBe('{"status":"success","dropped":2}');
      expect((await calls.json("/api/outbox/dead")).dead).toEqual([]);
      expect(inSqlite().size).toBe(101);
      expect((await calls.json("/api/stats")).outbox.bytes).toBe(0);
    },
    LONG_MS,
  );
});

describe("a data directory", () => {
  test(
    "belongs to one node: a second one says so and ends, the first goes on",
    async () => {
      const { calls } = await start(sqlite(), ["--workers=1"]);
      const second = await runMain(["serve", ...flagsFor(sqlite()), "--workers=1"]);
      expect(second.exitCode).toBe(1);
      expect(second.stderr.trimEnd().split("\n")).toEqual([expect.stringContaining("SERV_CACHE_DATA_DIR")]);
      expect((await calls.put("a", 1)).status).toBe(200);
    },
    LONG_MS,
  );

  test(
    "is free again when its node was killed",
    async () => {
      const { node } = await start(sqlite(), ["--workers=1"]);
      node.signal("SIGKILL");
      await node.finished();
      const { calls } = await start(sqlite(), ["--workers=1"]);
      expect((await calls.put("a", 1)).status).toBe(200);
    },
    LONG_MS,
  );

  test(
    "with a damaged outbox is set aside as far as it has to be, said, and never taken for empty",
    async () => {
      store.answer = () => new Response("mending", { status: 503 });
      const before = await start(store.url, ["--workers=1", "--drain-timeout=0"]);
      const keys = Array.from({ length: 300 }, (_, number) => `key:${number}`);
      for (const [number, key] of keys.entries()) await before.calls.put(key, number);
      before.node.signal("SIGTERM");
      await before.node.finished();
      damage(join(folder.path, "data", "outbox.db"));
      store.answer = null;
      const { node, calls } = await start(store.url, ["--workers=1"]);
      const { outbox } = await calls.json("/health");
      expect(outbox).toMatchObject({ status: "degraded", detail: expect.stringContaining("is damaged") });
      expect(readdirSync(join(folder.path, "data")).filter((name) => name.includes(".damaged-"))).not.toEqual([]);
      await until("what could be read is brought out", async () => (await outboxOf(calls)).pending === 0);
      expect(store.entries.size).toBeGreaterThan(keys.length / 2);
      for (const [key, { body }] of store.entries) expect(`key:${body}`).toBe(key);
      expect((await calls.put("new", 1)).status).toBe(200);
      node.signal("SIGTERM");
      expect((await node.finished()).stderr).toContain("is damaged");
    },
    LONG_MS,
  );
});

/** Turns one page in the middle of a file into something else. */
function damage(path: string): void {
  const bytes = readFileSync(path);
  const page = Math.floor(bytes.lastIndexOf("key:150") / 4096);
  bytes.fill(0xa5, 4096 * page, 4096 * (page + 1));
  writeFileSync(path, bytes);
}
