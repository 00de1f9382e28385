/** One client's value that the database refuses, among those of others, and a table that goes: on real servers. */
import { expect } from "bun:test";
import { SQL } from "bun";
import type { BackendRow } from "../../src/backend/backend.ts";
import { createBackend } from "../../src/backend/create-backend.ts";
import type { UserSqlTexts } from "../../src/backend/sql/user-sql.ts";
import { jsonRow, textOf, version } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";

const IN_TIME = { timeoutMs: 60_000 };

interface Database {
  readonly program: "postgres" | "mariadbd";
  start(): Promise<TestServer>;
  readonly adapter: "postgres" | "mysql";
  readonly texts: UserSqlTexts;
}

const DATABASES: readonly Database[] = [
  {
    program: "postgres",
    start: () => startPostgres(),
    adapter: "postgres",
    texts: {
      read: "SELECT data FROM docs WHERE id = :key",
      write: "INSERT INTO docs VALUES (:key, CAST(:value AS json)) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
      remove: "DELETE FROM docs WHERE id = :key",
    },
  },
  {
    program: "mariadbd",
    start: () => startMariaDb(),
    adapter: "mysql",
    texts: {
      read: "SELECT data FROM docs WHERE id = :key",
      write: "REPLACE INTO docs VALUES (:key, JSON_EXTRACT(:value, '$'))",
      remove: "DELETE FROM docs WHERE id = :key",
    },
  },
];

function textRow(key: string): BackendRow {
  return { kind: "put", key, value: { bytes: Buffer.from("no JSON"), contentType: "text/plain" }, version: version(1) };
}

for (const { program, start, adapter, texts } of DATABASES) {
  const { afterAll, beforeAll, describe, test } = needing(program);
  describe(`text before a statement that casts to JSON, and tables that go, in ${adapter}`, () => {
    let server: TestServer;
    let sql: SQL;
    beforeAll(async () => {
      server = await start();
      sql = new SQL({ url: server.url, adapter, max: 1 });
      await sql.unsafe(
        `CREATE TABLE docs (id varchar(100) PRIMARY KEY, data ${adapter === "mysql" ? "JSON" : "json"})`,
      );
    }, 300_000);
    afterAll(async () => {
      await sql.close();
      await server[Symbol.asyncDispose]();
    });

    test("is refused, and the values of others are written in the same call", async () => {
      const backend = createBackend(backendSettings(server.url, { userSql: texts }));
      const rows = Array.from({ length: 100 }, (_, i) =>
        i % 30 === 7 ? textRow(`k:${i}`) : jsonRow(`k:${i}`, "1", 1),
      );
      const kinds = (await backend.write(rows, IN_TIME)).map((result) => result.kind);
      expect(kinds).toEqual(rows.map((_, i) => (i % 30 === 7 ? "refused" : "written")));
      expect((await backend.load(["k:6", "k:7"], IN_TIME)).map(textOf)).toEqual(["1", "absent"]);
      await backend.close();
    });

    test("a table that was dropped and is made anew is told; one that is new is not", async () => {
      const backend = createBackend(backendSettings(server.url));
      expect((await backend.write([jsonRow("a", "1", 1)], IN_TIME)).map((result) => result.kind)).toEqual(["written"]);
      expect(backend.problem).toBe("");
      await sql.unsafe("DROP TABLE servcache_entries");
      await backend.write([jsonRow("b", "1", 1)], IN_TIME);
      expect((await backend.write([jsonRow("b", "1", 1)], IN_TIME)).map((result) => result.kind)).toEqual(["written"]);
      expect(backend.problem).toContain("the table of the entries was dropped while in use and is made anew, empty");
      await backend.close();
    });

    test("is refused alone, too, where another value passed before", async () => {
      const backend = createBackend(backendSettings(server.url, { userSql: texts }));
      await backend.write([jsonRow("a", "1", 1)], IN_TIME);
      await sql.unsafe("UPDATE docs SET data = '2' WHERE id = 'a'");
      expect((await backend.write([textRow("b")], IN_TIME)).map((result) => result.kind)).toEqual(["refused"]);
      // What passed before is only tried, not written again.
      expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual(["2"]);
      await backend.close();
    });

    test("where a table is missing or takes nothing any more, nothing is refused", async () => {
      const backend = createBackend(backendSettings(server.url, { userSql: texts }));
      await backend.write([jsonRow("a", "1", 1)], IN_TIME);
      await sql.unsafe("DELETE FROM docs");
      await sql.unsafe("ALTER TABLE docs ADD CONSTRAINT nothing CHECK (id = 'none')");
      const rows = [jsonRow("b", "1", 1), jsonRow("c", "1", 1)];
      expect((await backend.write(rows, IN_TIME)).map((result) => result.kind)).toEqual(["retry", "retry"]);
      await sql.unsafe("ALTER TABLE docs DROP CONSTRAINT nothing");
      await sql.unsafe("ALTER TABLE docs RENAME TO away");
      expect((await backend.write(rows, IN_TIME)).map((result) => result.kind)).toEqual(["retry", "retry"]);
      await sql.unsafe("ALTER TABLE away RENAME TO docs");
      expect((await backend.write(rows, IN_TIME)).map((result) => result.kind)).toEqual(["written", "written"]);
      await backend.close();
    });
  });
}
