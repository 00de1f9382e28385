/** Whole nodes before each kind of database: what is written arrives, in what form, and when it is answered. */

import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { SQL } from "bun";
import { type HttpStore, startHttpStore } from "../support/http-store.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { callsOf, type NodeCalls } from "../support/node-calls.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import type { ProgramName } from "../support/programs.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed, runMain, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** Starting nodes and servers takes a while where other tests run beside this one. */
const LONG_MS = 300_000;

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

async function start(database: string, flags: readonly string[], env: Record<string, string> = {}): Promise<NodeCalls> {
  const data = `--data-dir=${join(folder.path, "data")}`;
  const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", data, `--backend-db=${database}`, ...flags], {
    SERV_CACHE_WRITE_BEHIND_DELAY: "10ms",
    ...env,
  });
  return callsOf(node.port);
}

function requests(method: string): { path: string; version: number }[] {
  return store.requests
    .filter((request) => request.method === method)
    .map(({ path, headers }) => ({ path, version: Number(headers.get("x-servcache-version")) }));
}

const textOf = (key: string) => store.entries.get(key)?.body.toString();

describe.each([1, 2])("a node of %d threads before a service over HTTP", (workers) => {
  const threads = `--workers=${workers}`;

  test(
    "speaks the original's form, with versions that grow",
    async () => {
      const calls = await start(store.url, [threads, "--backend-delete=true"]);
      store.entries.set("a/b ü", { body: Buffer.from("12345678901234567890"), type: "text/plain", version: 0 });
      expect((await calls.get("a/b ü")).text).toBe('{"key":"a/b ü","value":12345678901234567890}');
      expect(requests("GET")).toMatchObject([{ path: "/base/a%2Fb%20%C3%BC" }]);
      await calls.put("a/b ü", { x: 1 });
      await until("the write arrives", () => textOf("a/b ü") === '{"x":1}');
      await calls.call("PUT", "/api/cache/bytes", { body: "plain", headers: { "Content-Type": "text/css" } });
      await until("the bytes arrive", () => textOf("bytes") === "plain");
      expect(store.entries.get("bytes")?.type).toBe("text/css");
      await calls.put("a/b ü", { x: 2 });
      await until("the second write arrives", () => textOf("a/b ü") === '{"x":2}');
      await calls.remove("a/b ü");
      await until("the delete arrives", () => !store.entries.has("a/b ü"));
      const versions = [...requests("POST"), ...requests("DELETE")].map(({ version }) => version);
      expect(versions).toHaveLength(4);
      expect(versions).toEqual(versions.toSorted((a, b) => a - b));
      expect(Math.min(...versions)).toBeGreaterThan(2 ** 40);
    },
    LONG_MS,
  );

  test(
    "writes nothing that a peer sent on, and no key that the service is not for",
    async () => {
      const calls = await start(store.url, [threads, "--backend-keys=user:*,order:?", "--backend-delete=true"]);
      await calls.call("POST", "/api/cache?replicated=true", { body: '{"key":"user:1","value":1}' });
      await calls.call("DELETE", "/api/cache/user:1?replicated=true");
      await calls.put("session:1", 1);
      await calls.put("order:10", 1);
      expect((await calls.get("session:2")).code).toBe("ERR_NOT_FOUND");
      expect((await calls.get("session:1")).status).toBe(200);
      await calls.put("order:1", 1);
      await until("the last write arrives", () => store.entries.has("order:1"));
      expect(store.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(["POST /base/order%3A1"]);
    },
    LONG_MS,
  );

  test(
    "deletes by pattern and clears in the service, too, where it is told to",
    async () => {
      const calls = await start(store.url, [threads, "--backend-delete=true"]);
      for (const key of ["user:1", "user:2", "other"]) await calls.put(key, 1);
      await until("the writes arrive", () => store.entries.size === 3);
      const deleted = await calls.call("DELETE", "/api/cache?pattern=user:*");
      expect(deleted.text).toBe('{"status":"success","deleted":2}');
      expect((await calls.get("user:1")).code).toBe("ERR_NOT_FOUND");
      await until("the deletes arrive", () => store.entries.size === 1);
      await calls.call("DELETE", "/api/cache");
      await until("the last delete arrives", () => store.entries.size === 0);
    },
    LONG_MS,
  );

  test(
    "writes through: answers when the service has it, and says what it refuses",
    async () => {
      const calls = await start(store.url, [threads, "--write-mode=through", "--backend-write-timeout=500ms"]);
      expect((await calls.put("a", 1)).status).toBe(200);
      expect(textOf("a")).toBe("1");
      const refused = await calls.put("poison", 1);
      expect([refused.status, refused.code]).toEqual([422, "ERR_BACKEND_REFUSED"]);
      expect(refused.headers.has("retry-after")).toBe(false);
      expect((await calls.get("poison")).code).toBe("ERR_NOT_FOUND");
      expect((await calls.json("/api/outbox/dead")).dead).toEqual([]);
      store.answer = () => new Response("mending", { status: 503 });
      const late = await calls.put("a", 2);
      expect([late.status, late.code, late.headers.has("retry-after")]).toEqual([504, "ERR_BACKEND_TIMEOUT", true]);
      expect((await calls.get("a")).text).toBe('{"key":"a","value":2}');
      store.answer = null;
      await until("it is written later", () => textOf("a") === "2");
      const together = await Promise.all(Array.from({ length: 50 }, (_, number) => calls.put(`k${number}`, number)));
      expect(together.map(({ status }) => status)).toEqual(together.map(() => 200));
      expect(Array.from({ length: 50 }, (_, number) => textOf(`k${number}`))).toEqual(together.map((_, n) => `${n}`));
    },
    LONG_MS,
  );

  test(
    "writes nothing at all where it is told to, and still reads",
    async () => {
      const calls = await start(store.url, [threads, "--write-mode=none", "--backend-delete=true"]);
      store.entries.set("a", { body: Buffer.from("1"), type: "application/json", version: 0 });
      expect((await calls.get("a")).text).toBe('{"key":"a","value":1}');
      await calls.put("a", 2);
      expect((await calls.get("a")).text).toBe('{"key":"a","value":2}');
      await calls.remove("a");
      expect((await calls.get("a")).text).toBe('{"key":"a","value":1}');
      expect(new Set(store.requests.map(({ method }) => method))).toEqual(new Set(["GET"]));
    },
    LONG_MS,
  );
});

needing("redis-server").describe("a node on Redis with a database behind it", () => {
  test(
    "keeps what it loads in Redis, and writes behind what it is given",
    async () => {
      const redis = await RedisServer.start();
      try {
        const calls = await start(store.url, ["--workers=2", `--redis-url=${redis.url}`, "--redis-command-timeout=1m"]);
        store.entries.set("a", { body: Buffer.from("[1]"), type: "application/json", version: 0 });
        for (let read = 0; read < 5; read++) expect((await calls.get("a")).text).toBe('{"key":"a","value":[1]}');
        expect(requests("GET")).toHaveLength(1);
        await calls.put("a", [2]);
        expect((await calls.get("a")).text).toBe('{"key":"a","value":[2]}');
        await until("the write arrives", () => textOf("a") === "[2]");
        const counted = await calls.call("PATCH", "/api/cache/count", { body: '{"increment":2}' });
        expect(counted.text).toBe('{"key":"count","value":2}');
        await until("the counter arrives", () => textOf("count") === "2");
        await calls.call("DELETE", "/api/cache");
        expect((await calls.get("a")).text).toBe('{"key":"a","value":[2]}');
      } finally {
        await redis.stop();
      }
    },
    LONG_MS,
  );
});

interface Kind {
  readonly name: string;
  readonly program: ProgramName;
  start(): Promise<TestServer>;
  open(url: string): SQL;
  /** The value of `:value`'s member, and the key's second part as a number. */
  readonly upsert: string;
}

const KINDS: readonly Kind[] = [
  {
    name: "PostgreSQL",
    program: "postgres",
    start: () => startPostgres(["fsync=off"]),
    open: (url) => new SQL({ url, adapter: "postgres", max: 1 }),
    upsert: `INSERT INTO users (id, name, balance)
      VALUES (CAST(:2 AS integer), CAST(:value AS json)->>'name', CAST(CAST(:value AS json)->>'balance' AS numeric))
      ON CONFLICT (id) DO UPDATE SET name = excluded.name, balance = excluded.balance`,
  },
  {
    name: "MariaDB",
    program: "mariadbd",
    start: () => startMariaDb(),
    open: (url) => new SQL({ url, adapter: "mysql", max: 1 }),
    upsert: `INSERT INTO users (id, name, balance)
      VALUES (CAST(:2 AS SIGNED), JSON_UNQUOTE(JSON_EXTRACT(:value, '$.name')), JSON_EXTRACT(:value, '$.balance'))
      ON DUPLICATE KEY UPDATE name = VALUES(name), balance = VALUES(balance)`,
  },
];

for (const kind of KINDS) {
  const { afterAll, beforeAll, describe, test } = needing(kind.program);
  describe(`a node before ${kind.name}`, () => {
    let server: TestServer;
    let sql: SQL;

    beforeAll(async () => {
      server = await kind.start();
      sql = kind.open(server.url);
      await sql.unsafe(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(50) NOT NULL, balance NUMERIC(20, 2))",
      );
      await sql.unsafe("INSERT INTO users VALUES (101, 'Ada', 10.50), (102, 'it''s', NULL)");
    }, LONG_MS);
    afterAll(async () => {
      await sql.close({ timeout: 0 });
      await server[Symbol.asyncDispose]();
    });

    async function user(id: number): Promise<string | undefined> {
      const [row] = await sql.unsafe(`SELECT name, CAST(balance AS CHAR(20)) AS balance FROM users WHERE id = ${id}`);
      return row === undefined ? undefined : `${row.name} ${String(row.balance).trim()}`;
    }

    test(
      "keeps values in its own table, digit for digit, and bytes with their type",
      async () => {
        const calls = await start(server.url, ["--workers=2"]);
        const document = '{"b":1.0,"a":12345678901234567890,"ü":"🦊"}';
        await calls.call("POST", "/api/cache", { body: `{"key":"doc:ü","value":${document}}` });
        await calls.call("PUT", "/api/cache/page", { body: "<b>\u0000</b>", headers: { "Content-Type": "text/html" } });
        await until("both are in the table", async () => {
          const [row] = await sql.unsafe("SELECT count(*) AS n FROM servcache_entries").catch(() => []);
          return Number(row?.n) === 2;
        });
        await calls.call("DELETE", "/api/cache");
        expect((await calls.get("doc:ü")).text).toBe(`{"key":"doc:ü","value":${document}}`);
        const page = await calls.get("page");
        expect([page.headers.get("content-type"), page.text]).toEqual(["text/html", "<b>\u0000</b>"]);
        expect((await calls.get("doc:Ü")).code).toBe("ERR_NOT_FOUND");
      },
      LONG_MS,
    );

    test(
      "maps keys onto a table that exists, by statements of the user's own",
      async () => {
        const calls = await start(server.url, ["--workers=2", "--backend-delete=true", "--write-behind-attempts=1"], {
          SERV_CACHE_BACKEND_KEYS: "user:*",
          SERV_CACHE_BACKEND_READ_SQL: "SELECT name, balance FROM users WHERE id = CAST(:2 AS decimal)",
          SERV_CACHE_BACKEND_WRITE_SQL: kind.upsert,
          SERV_CACHE_BACKEND_DELETE_SQL: "DELETE FROM users WHERE id = CAST(:2 AS decimal)",
        });
        expect(JSON.parse((await calls.get("user:101")).text)).toMatchObject({ value: { name: "Ada" } });
        expect(JSON.parse((await calls.get("user:102")).text)).toMatchObject({
          value: { name: "it's", balance: null },
        });
        expect((await calls.get("user:103")).code).toBe("ERR_NOT_FOUND");
        expect((await calls.put("user:103", { name: "Eve'); DROP TABLE users; --", balance: 3 })).status).toBe(200);
        expect((await calls.put("user:101", { name: "Ada L.", balance: 11.25 })).status).toBe(200);
        await until(
          "both are written",
          async () => (await user(101)) === "Ada L. 11.25" && (await user(103)) !== undefined,
        );
        expect(await user(103)).toBe("Eve'); DROP TABLE users; -- 3.00");
        expect((await calls.put("user:104", { balance: 1 })).status).toBe(200);
        await until("what the table refuses is set aside", async () => {
          const { dead } = await calls.json("/api/outbox/dead");
          return dead.length === 1 && dead[0].key === "user:104";
        });
        await calls.remove("user:102");
        await until("it is deleted", async () => (await user(102)) === undefined);
        expect((await calls.get("user:102")).code).toBe("ERR_NOT_FOUND");
        const waiting = async () => (await calls.json("/api/stats")).outbox.queues.backend.pending;
        // The row is gone a moment before the node knows of it.
        await until("nothing waits", async () => (await waiting()) === 0);
        await calls.put("session:1", 1);
        expect(await waiting()).toBe(0);
      },
      LONG_MS,
    );
  });
}

describe("a node before SQLite", () => {
  test(
    "makes the file and the table, and reads what others wrote there",
    async () => {
      const file = join(folder.path, "shop.db");
      const calls = await start(`sqlite:${file}`, ["--workers=2"]);
      await calls.put("a", { x: 1.5 });
      await until("the write arrives", async () => (await calls.json("/api/stats")).backend.rows_written === 1);
      using database = new Database(file);
      database.run("PRAGMA busy_timeout = 5000");
      expect(database.query("SELECT key, value FROM servcache_entries").all()).toEqual([
        { key: "a", value: '{"x":1.5}' },
      ]);
      database.run(
        "INSERT INTO servcache_entries (key, value, content_type, version) VALUES ('b', '[2]', 'application/json', 1)",
      );
      expect((await calls.get("b")).text).toBe('{"key":"b","value":[2]}');
    },
    LONG_MS,
  );
});

describe("a node does not start", () => {
  const flags = () => ["serve", "--addr=127.0.0.1:0", "--workers=1", `--data-dir=${join(folder.path, "data")}`];

  test.each([
    [["--backend-db=mongodb://h/db"], 2, '--backend-db is "mongodb://h/db", expected a URL'],
    [["--backend-db=postgres://u:hunt#er2@h/db"], 1, "SERV_CACHE_BACKEND_DB can't be read as a URL"],
    [["--backend-db=postgres://u:12#er2@h/db"], 1, "SERV_CACHE_BACKEND_DB can't be read as a URL"],
    [["--backend-db=http://u:100%@h/db"], 1, "SERV_CACHE_BACKEND_DB can't be read as a URL"],
    [["--backend-db=sqlite:"], 1, "SERV_CACHE_BACKEND_DB names no file"],
    [["--backend-db=postgres://h/db", "--backend-table=a b"], 1, "SERV_CACHE_BACKEND_TABLE"],
    [
      ["--backend-db=postgres://h/db", "--backend-read-sql=SELECT 1 WHERE :key = :nobody", "--write-mode=none"],
      1,
      ":nobody",
    ],
    [["--backend-db=postgres://h/db", "--backend-read-sql=SELECT :key"], 2, "SERV_CACHE_BACKEND_WRITE_SQL"],
    [["--backend-db=https://h/", "--backend-ca=/nowhere/ca.pem"], 1, 'SERV_CACHE_BACKEND_CA is "/nowhere/ca.pem"'],
    [
      ["--backend-db=sqlite:x.db", "--stale-if-error=1h", "--stale-memory=1GiB", "--entry-memory=64MiB"],
      1,
      "SERV_CACHE_STALE_MEMORY",
    ],
    [["--backend-db=sqlite:x.db", "--data-dir=/proc/nothing"], 2, "--data-dir is given"],
  ])(
    "with %p, and says why in one line",
    async (more, exitCode, why) => {
      const ended = await runMain([...flags(), ...more]);
      expect([ended.exitCode, ended.stderr.trimEnd().split("\n").length]).toEqual([exitCode, 1]);
      expect(ended.stderr).toContain(why);
      expect(ended.stderr).not.toContain("er2");
    },
    LONG_MS,
  );

  test(
    "with SQL that the database does not take, and says which and why",
    async () => {
      const database = `--backend-db=sqlite:${join(folder.path, "shop.db")}`;
      const read = "--backend-read-sql=SELECT v FROM nowhere WHERE k = :key";
      const ended = await runMain([...flags(), database, read, "--write-mode=none"]);
      expect(ended.exitCode).toBe(1);
      expect(ended.stderr.trimEnd()).toEndWith(
        "SERV_CACHE_BACKEND_READ_SQL: the database does not take this statement: no such table: nowhere",
      );
      expect(ended.stderr.trimEnd().split("\n")).toHaveLength(1);
    },
    LONG_MS,
  );
});

test(
  "a node starts with SQL of the user's own while the database is away",
  async () => {
    const calls = await start("postgres://servcache@127.0.0.1:1/db", ["--write-mode=none"], {
      SERV_CACHE_BACKEND_READ_SQL: "SELECT v FROM nowhere WHERE k = :key",
    });
    await until("it says so", async () => (await calls.json("/health")).backend?.status === "degraded");
  },
  LONG_MS,
);
