/** Keys that fit no statement of the user's own: refused before the answer, on every path that writes. */
import { Database } from "bun:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { SQL } from "bun";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { callsOf } from "../support/node-calls.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { endServed, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** Starting nodes and servers takes a while where other tests run beside this one. */
const LONG_MS = 300_000;

const TABLE = "CREATE TABLE counts (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)";
const STRANGE = ["n:abc", "n:1:x", "n:01", "n", "n:9223372036854775808"];

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
});
afterEach(async () => {
  await endServed();
  folder[Symbol.dispose]();
});

function refuses(name: string, number: string, onConflict: string, url: () => string): void {
  for (const mode of ["behind", "through"]) {
    for (const workers of [1, 2]) {
      test(
        `${name}, mode ${mode}, ${workers} threads: a key that fits no statement is a 400, and nothing of it is kept`,
        async () => {
          const node = await serve(
            [
              ...["--addr=127.0.0.1:0", "--entry-memory=64MiB", `--workers=${workers}`, `--write-mode=${mode}`],
              ...[`--data-dir=${join(folder.path, "data")}`, `--backend-db=${url()}`, "--backend-delete=true"],
              "--backend-read-sql=SELECT n FROM counts WHERE id = :2",
              `--backend-write-sql=INSERT INTO counts (id, n) VALUES (CAST(:2 AS ${number}), CAST(:value AS ${number})) ${onConflict}`,
              "--backend-delete-sql=DELETE FROM counts WHERE id = :2",
              ...["--write-behind-attempts=1", "--write-behind-delay=1ms"],
            ],
            {},
          );
          const calls = callsOf(node.port);
          // The statements' types are known from the first connection on, which the start does not wait for where it fails.
          await until("the database is reached", async () => (await calls.json("/health")).backend.status === "ok");
          for (const key of STRANGE) {
            const path = `/api/cache/${encodeURIComponent(key)}`;
            const operations = [
              { op: "set", key, value: 1 },
              { op: "set", key: "n:7", value: 7 },
              { op: "delete", key },
            ];
            const answers = await Promise.all([
              calls.put(key, 1),
              calls.call("PUT", path, { body: "1", headers: { "Content-Type": "application/json" } }),
              calls.call("PUT", path, { body: "1", headers: { "If-None-Match": "*" } }),
              calls.call("PATCH", path, { body: '{"increment":1}' }),
              calls.remove(key),
            ]);
            expect(answers.map(({ status, code }) => `${status} ${code}`)).toEqual(
              answers.map(() => "400 ERR_BACKEND_KEY"),
            );
            const batch = await calls.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
            const results: { status: number; code?: string }[] = JSON.parse(batch.text).results;
            const refused = "400 ERR_BACKEND_KEY";
            expect(results.map(({ status, code = "" }) => `${status} ${code}`)).toEqual([refused, "200 ", refused]);
            expect((await calls.get(key)).status).toBe(404);
          }
          expect((await calls.call("DELETE", "/api/cache?pattern=n*")).status).toBe(200);
          await until("all is written", async () => {
            const { backend } = (await calls.json("/api/stats")).outbox.queues;
            expect(backend.dead).toBe(0);
            return backend.pending === 0;
          });
          expect((await calls.get("n:7")).status).toBe(404);
        },
        LONG_MS,
      );
    }
  }
}

refuses("SQLite", "integer", "ON CONFLICT (id) DO UPDATE SET n = excluded.n", () => {
  const file = join(folder.path, "shop.db");
  using database = new Database(file);
  database.run(TABLE);
  return `sqlite:${file}`;
});

for (const { program, adapter, open, number, onConflict } of [
  {
    ...{
      program: "postgres" as const,
      adapter: "postgres" as const,
      open: () => startPostgres(["fsync=off"]),
      number: "integer",
    },
    onConflict: "ON CONFLICT (id) DO UPDATE SET n = excluded.n",
  },
  {
    ...{ program: "mariadbd" as const, adapter: "mysql" as const, open: () => startMariaDb(), number: "SIGNED" },
    onConflict: "ON DUPLICATE KEY UPDATE n = VALUES(n)",
  },
]) {
  needing(program).describe(adapter, () => {
    let server: TestServer;
    beforeAll(async () => {
      server = await open();
      await using sql = new SQL({ url: server.url, adapter, max: 1 });
      await sql.unsafe(TABLE);
    }, LONG_MS);
    afterAll(() => server[Symbol.asyncDispose]());
    refuses(adapter, number, onConflict, () => server.url);
  });
}
