/** Whole nodes before each kind of backend, with `SERV_CACHE_WRITE_RELOAD=true`: entries are what the backend made of them. */
import { Database } from "bun:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { SQL } from "bun";
import { startHttpStore } from "../support/http-store.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { callsOf } from "../support/node-calls.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { endServed, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** Starting nodes and servers takes a while where other tests run beside this one. */
const LONG_MS = 300_000;

const TABLE = "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(50) NOT NULL, visits INTEGER DEFAULT 7)";
const READ = "SELECT name, visits FROM users WHERE id = :2";
const WRITES = {
  postgres: `INSERT INTO users (id, name) VALUES (CAST(:2 AS integer), upper(CAST(:value AS json)->>'name'))
    ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
  mysql: `INSERT INTO users (id, name) VALUES (CAST(:2 AS SIGNED), UPPER(JSON_UNQUOTE(JSON_EXTRACT(:value, '$.name'))))
    ON DUPLICATE KEY UPDATE name = VALUES(name)`,
  sqlite: `INSERT INTO users (id, name) VALUES (CAST(:2 AS integer), upper(json_extract(:value, '$.name')))
    ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
};

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
});
afterEach(async () => {
  await endServed();
  folder[Symbol.dispose]();
});

function reloads(name: string, database: () => { readonly url: string; readonly write: string | null }): void {
  for (const workers of [1, 2]) {
    const start = async (flags: readonly string[]) => {
      const { url, write } = database();
      const node = await serve(
        [
          ...["--addr=127.0.0.1:0", "--entry-memory=64MiB", `--workers=${workers}`, "--write-behind-delay=10ms"],
          ...[`--data-dir=${join(folder.path, "data")}`, `--backend-db=${url}`, "--write-reload=true"],
          ...(write === null ? [] : [`--backend-read-sql=${READ}`, `--backend-write-sql=${write}`]),
          ...flags,
        ],
        {},
      );
      return callsOf(node.port);
    };
    const shown = (text: string) => JSON.parse(text).value;

    test(
      `${name}, ${workers} threads: a write through is what was made of it when it is answered`,
      async () => {
        const calls = await start(["--write-mode=through"]);
        for (const who of ["ada", "eve"]) {
          expect((await calls.put("user:1", { name: who }, "1h")).status).toBe(200);
          expect(shown((await calls.get("user:1")).text)).toEqual({ name: who.toUpperCase(), visits: 7 });
        }
        const batch = { operations: [{ op: "set", key: "user:2", value: { name: "joe" } }] };
        expect((await calls.call("POST", "/api/batch", { body: JSON.stringify(batch) })).status).toBe(200);
        expect(shown((await calls.get("user:2")).text)).toEqual({ name: "JOE", visits: 7 });
        // From the cache, for as long as the write said.
        expect((await calls.get("user:1")).headers.get("cache-status")).toMatch(/hit; ttl=3\d\d\d/);
      },
      LONG_MS,
    );

    test(
      `${name}, ${workers} threads: a write behind is what was made of it when it is written`,
      async () => {
        const calls = await start([]);
        expect((await calls.put("user:3", { name: "ada" })).status).toBe(200);
        await until("the entry is the backend's", async () => {
          const value = shown((await calls.get("user:3")).text);
          return value.name === "ADA" && value.visits === 7;
        });
      },
      LONG_MS,
    );
  }
}

describe("a service over HTTP", () => {
  reloads("HTTP", () => {
    const store = startHttpStore();
    stores.push(store);
    store.answer = async (request) => {
      const key = decodeURIComponent(new URL(request.url).pathname.replace("/base/", ""));
      const body = Buffer.from(await request.arrayBuffer());
      if (request.method === "POST") store.entries.set(key, { body, type: "application/json", version: 0 });
      const kept = store.entries.get(key);
      if (kept === undefined) return new Response("none", { status: 404 });
      const { name } = JSON.parse(kept.body.toString());
      return Response.json({ name: name.toUpperCase(), visits: 7 });
    };
    return { url: store.url, write: null };
  });
  const stores: Disposable[] = [];
  afterAll(() => {
    for (const store of stores) store[Symbol.dispose]();
  });
});

describe("SQLite", () => {
  reloads("SQLite", () => {
    const file = join(folder.path, "shop.db");
    using database = new Database(file);
    database.run(TABLE);
    return { url: `sqlite:${file}`, write: WRITES.sqlite };
  });
});

for (const { program, adapter, open } of [
  { program: "postgres", adapter: "postgres", open: () => startPostgres(["fsync=off"]) },
  { program: "mariadbd", adapter: "mysql", open: () => startMariaDb() },
] as const) {
  needing(program).describe(`a server of ${adapter}`, () => {
    let server: TestServer;
    beforeAll(async () => {
      server = await open();
      await using sql = new SQL({ url: server.url, adapter, max: 1 });
      await sql.unsafe(TABLE);
    }, LONG_MS);
    afterAll(() => server[Symbol.asyncDispose]());
    reloads(adapter, () => ({ url: server.url, write: WRITES[adapter] }));
  });
}
