import { expect } from "bun:test";
import { SQL } from "bun";
import { createBackend } from "../../src/backend/create-backend.ts";
import { deleteRow, jsonRow, testBackend, textOf, version } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { needing } from "../support/needing.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { until } from "../support/until.ts";

const { afterAll, beforeAll, describe, test } = needing("postgres");

let server: TestServer;
let sql: SQL;
beforeAll(async () => {
  server = await startPostgres();
  sql = new SQL({ url: server.url, max: 1 });
}, 300_000);
afterAll(async () => {
  await sql.close();
  await server[Symbol.asyncDispose]();
});

const IN_TIME = { timeoutMs: 60_000 };

describe("with a server", () => {
  testBackend({
    name: "PostgreSQL",
    async create() {
      await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
      const backend = createBackend(backendSettings(server.url, { loadTimeoutMs: 10_000 }));
      await backend.load(["make the table"], IN_TIME);
      await sql.unsafe("ALTER TABLE servcache_entries ADD CONSTRAINT no_poison CHECK (key <> 'poison')");
      return backend;
    },
    refusedRow: jsonRow("poison", "1", 1),
    comparesVersions: true,
  });
});

describe("the default table in PostgreSQL", () => {
  test("a table dropped under a running backend is made again", async () => {
    await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
    const backend = createBackend(backendSettings(server.url));
    await backend.write([jsonRow("a", "1", 1)], IN_TIME);
    await sql.unsafe("DROP TABLE servcache_entries");
    expect((await backend.write([jsonRow("a", "2", 2)], IN_TIME))[0]?.kind).toBe("retry");
    expect(await backend.write([jsonRow("a", "2", 2)], IN_TIME)).toEqual([{ kind: "written" }]);
    await backend.close();
  });

  test("eight backends that start at once all find their table", async () => {
    await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
    const backends = Array.from({ length: 8 }, () => createBackend(backendSettings(server.url)));
    const results = await Promise.all(backends.map((backend, i) => backend.write([jsonRow(`k${i}`, "1", 1)], IN_TIME)));
    expect(results.flat()).toEqual(backends.map(() => ({ kind: "written" })));
    for (const backend of backends) await backend.close();
  });

  test("JSON is kept in a column of type json that SQL can look into", async () => {
    const backend = createBackend(backendSettings(server.url, { table: "public.Other_Table" }));
    await backend.write([jsonRow("a", '{"name":"Ann"}', 7)], IN_TIME);
    const rows = await sql.unsafe(
      `SELECT key, value->>'name' AS name, version::int AS version FROM public."Other_Table"`,
    );
    expect([...rows]).toEqual([{ key: "a", name: "Ann", version: 7 }]);
    await backend.close();
  });

  test("a user who may not make tables uses the one that is there", async () => {
    await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
    const owner = createBackend(backendSettings(server.url));
    await owner.load(["make the table"], IN_TIME);
    await owner.close();
    await sql
      .unsafe("CREATE ROLE plain LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON servcache_entries TO plain;")
      .simple();
    const backend = createBackend(backendSettings(server.url.replace("servcache@", "plain@")));
    expect(await backend.write([jsonRow("a", "1", 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    await backend.close();
  });

  test("a statement that waits for a lock ends at its timeout, and the next call works", async () => {
    const backend = createBackend(backendSettings(server.url));
    await backend.write([jsonRow("a", "1", 1)], IN_TIME);
    await sql.unsafe("BEGIN");
    await sql.unsafe("LOCK TABLE servcache_entries IN ACCESS EXCLUSIVE MODE");
    const [loaded] = await backend.load(["a"], { timeoutMs: 200 });
    expect(loaded?.kind === "failed" ? loaded.error.code : loaded?.kind).toBe("ERR_BACKEND_TIMEOUT");
    await sql.unsafe("ROLLBACK");
    expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual(["1"]);
    await backend.close();
  });
});

test("an older write that got no answer is ended at the server before a delete goes out", async () => {
  await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
  const backend = createBackend(backendSettings(server.url, { writeTimeoutMs: 60_000 }));
  await backend.write([jsonRow("a", '"first"', 1), jsonRow("b", "1", 1)], IN_TIME);
  await sql.unsafe("BEGIN");
  await sql.unsafe("SELECT * FROM servcache_entries WHERE key = 'a' FOR UPDATE");
  expect((await backend.write([jsonRow("a", '"late"', 2)], { timeoutMs: 1_000 }))[0]?.kind).toBe("retry");
  await until(
    "a write goes out",
    async () => (await backend.write([deleteRow("b", 3)], IN_TIME))[0]?.kind === "written",
  );
  await sql.unsafe("ROLLBACK");
  await until(
    "the delete is done",
    async () => (await backend.write([deleteRow("a", 3)], IN_TIME))[0]?.kind === "written",
  );
  expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual(["absent"]);
  await backend.close();
});

describe("SQL of the user's own in PostgreSQL", () => {
  test("keys are mapped onto rows of a table that exists", async () => {
    await sql.unsafe("CREATE TABLE users (id int PRIMARY KEY, data json NOT NULL, version bigint)");
    const backend = createBackend(
      backendSettings(server.url, {
        userSql: {
          read: "SELECT data FROM users WHERE id = :2 -- not :3",
          write: `INSERT INTO users VALUES (:2, :value, :version) ON CONFLICT (id)
            DO UPDATE SET data = excluded.data, version = excluded.version WHERE users.version < excluded.version;`,
          remove: "DELETE FROM users WHERE id = :2::int",
        },
      }),
    );
    const rows = [jsonRow("user:1", '{"n": 1.0}', 5), jsonRow("user:none", "1", 6), jsonRow("user:2", "2", 7)];
    expect((await backend.write(rows, IN_TIME)).map((result) => result.kind)).toEqual([
      "written",
      "refused",
      "written",
    ]);
    expect((await backend.load(["user:1"], IN_TIME)).map(textOf)).toEqual(['{"n": 1.0}']);
    expect((await backend.load(["user:3"], IN_TIME)).map(textOf)).toEqual(["absent"]);
    expect((await backend.load(["user"], IN_TIME)).map(textOf)).toEqual(["absent"]);
    expect(await backend.write([deleteRow("user:1", 8)], IN_TIME)).toEqual([{ kind: "written" }]);
    expect((await backend.load(["user:1"], IN_TIME)).map(textOf)).toEqual(["absent"]);
    await backend.close();
  });

  test("a row of several columns is a JSON object with every digit", async () => {
    await sql.unsafe(
      "CREATE TABLE prices (sku text PRIMARY KEY, price numeric(30,10), ok bool, data jsonb, raw bytea)",
    );
    await sql.unsafe(`INSERT INTO prices VALUES ('a"b', 12345678901234567890.1000000000, true, '[1]', '\\x00ff')`);
    const load = async (read: string) => {
      const backend = createBackend(backendSettings(server.url, { userSql: { read, write: null, remove: null } }));
      const [result] = await backend.load(['sku:a"b'], IN_TIME);
      await backend.close();
      return result;
    };
    expect(textOf(await load("SELECT sku, price, ok, data, null AS none FROM prices WHERE sku = :2"))).toBe(
      '{"sku":"a\\"b","price":12345678901234567890.1000000000,"ok":true,"data":[1],"none":null}',
    );
    expect(textOf(await load("SELECT price FROM prices WHERE sku = :2"))).toBe("12345678901234567890.1000000000");
    expect(textOf(await load("SELECT sku FROM prices WHERE sku = :2"))).toBe('"a\\"b"');
    expect(await load("SELECT raw AS value, 'image/png' AS content_type FROM prices WHERE sku = :2")).toEqual({
      kind: "found",
      value: { bytes: Buffer.from([0, 255]), contentType: "image/png" },
    });
  });

  test("a value is never taken for SQL", async () => {
    await sql.unsafe("CREATE TABLE notes (key text PRIMARY KEY, body text)");
    const backend = createBackend(
      backendSettings(server.url, {
        userSql: {
          read: "SELECT body FROM notes WHERE key = :key",
          write: "INSERT INTO notes VALUES (:key, :value)",
          remove: null,
        },
      }),
    );
    const json = `"'); DROP TABLE notes; --"`;
    expect(await backend.write([jsonRow("'||(SELECT 1)||'", json, 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    expect((await backend.load(["'||(SELECT 1)||'"], IN_TIME)).map(textOf)).toEqual([json]);
    await backend.close();
  });
});

test("a backend that is closed asks nothing any more, and ends what is under way", async () => {
  const backend = createBackend(backendSettings(server.url));
  await backend.load(["a"], IN_TIME);
  await sql.unsafe("BEGIN");
  await sql.unsafe("LOCK TABLE servcache_entries IN ACCESS EXCLUSIVE MODE");
  const loading = backend.load(["a"], IN_TIME);
  await backend.close();
  expect((await loading)[0]?.kind).toBe("failed");
  expect((await backend.load(["a"], IN_TIME))[0]?.kind).toBe("failed");
  await sql.unsafe("ROLLBACK");
});

test("a server that refuses connections is unavailable, at once", async () => {
  const backend = createBackend(backendSettings("postgres://servcache@127.0.0.1:1/postgres"));
  const [loaded] = await backend.load(["a"], IN_TIME);
  expect(loaded?.kind === "failed" ? loaded.error.code : loaded?.kind).toBe("ERR_BACKEND_UNAVAILABLE");
  const put = jsonRow("a", "1", version(1));
  expect((await backend.write([put], IN_TIME))[0]?.kind).toBe("retry");
  await backend.close();
});
