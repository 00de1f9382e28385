import { expect } from "bun:test";
import { SQL } from "bun";
import { createBackend } from "../../src/backend/create-backend.ts";
import { deleteRow, jsonRow, testBackend, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import type { TestServer } from "../support/postgres.ts";

const { afterAll, beforeAll, describe, test } = needing("mariadbd");

const IN_TIME = { timeoutMs: 60_000 };

let server: TestServer;
let sql: SQL;
beforeAll(async () => {
  server = await startMariaDb(["--max-allowed-packet=64M", "--innodb-log-file-size=256M"]);
  sql = new SQL({ url: server.url, adapter: "mysql", max: 1 });
}, 300_000);
afterAll(async () => {
  await sql.close();
  await server[Symbol.asyncDispose]();
});

describe("with a server", () => {
  testBackend({
    name: "MariaDB",
    async create() {
      await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
      const backend = createBackend(backendSettings(server.url, { loadTimeoutMs: 10_000 }));
      await backend.load(["make the table"], IN_TIME);
      await sql.unsafe("ALTER TABLE servcache_entries ADD CONSTRAINT no_poison CHECK (`key` <> 'poison')");
      return backend;
    },
    refusedRow: jsonRow("poison", "1", 1),
    comparesVersions: true,
  });
});

describe("the default table in MariaDB", () => {
  test("a statement that waits for a lock ends at its timeout, and the next call works", async () => {
    await sql.unsafe("DROP TABLE IF EXISTS servcache_entries");
    const backend = createBackend(backendSettings(server.url));
    await backend.write([jsonRow("a", "1", 1)], IN_TIME);
    await sql.unsafe("LOCK TABLES servcache_entries WRITE");
    const [loaded] = await backend.load(["a"], { timeoutMs: 200 });
    expect(loaded?.kind === "failed" ? loaded.error.code : loaded?.kind).toBe("ERR_BACKEND_TIMEOUT");
    await sql.unsafe("UNLOCK TABLES");
    expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual(["1"]);
    await backend.close();
  });

  test("a value that the server cuts short elsewhere is refused, whatever its mode", async () => {
    await sql.unsafe("SET GLOBAL sql_mode = ''");
    await sql.unsafe("CREATE TABLE short (id VARCHAR(10) PRIMARY KEY, body VARCHAR(5))");
    const backend = createBackend(
      backendSettings(server.url, {
        userSql: {
          read: "SELECT body FROM short WHERE id = :2 /* :3 */",
          write: "REPLACE INTO short VALUES (:2, :value)",
          remove: "DELETE FROM short WHERE id = :2",
        },
      }),
    );
    const rows = [jsonRow("k:1", "12345", 1), jsonRow("k:2", "123456", 1)];
    expect((await backend.write(rows, IN_TIME)).map((result) => result.kind)).toEqual(["written", "refused"]);
    expect((await backend.load(["k:1"], IN_TIME)).map(textOf)).toEqual(["12345"]);
    expect(await backend.write([deleteRow("k:1", 2)], IN_TIME)).toEqual([{ kind: "written" }]);
    expect((await backend.load(["k:1"], IN_TIME)).map(textOf)).toEqual(["absent"]);
    await backend.close();
  });
});
