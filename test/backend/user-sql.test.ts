/** SQL of the user's own on real servers: which row a key means, and what its values are. */
import { expect } from "bun:test";
import { SQL } from "bun";
import type { Backend } from "../../src/backend/backend.ts";
import { createBackend } from "../../src/backend/create-backend.ts";
import type { UserSqlTexts } from "../../src/backend/sql/user-sql.ts";
import { deleteRow, jsonRow, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";

const IN_TIME = { timeoutMs: 60_000 };

const DATABASES = [
  { program: "postgres", adapter: "postgres", start: () => startPostgres() },
  { program: "mariadbd", adapter: "mysql", start: () => startMariaDb() },
] as const;

const ACCOUNTS: UserSqlTexts = {
  read: "SELECT name FROM accounts WHERE id = :2",
  write: "UPDATE accounts SET name = :value WHERE id = :2",
  remove: "DELETE FROM accounts WHERE id = :2",
};

for (const { program, adapter, start } of DATABASES) {
  const { afterAll, beforeAll, describe, test } = needing(program);
  describe(`the user's own SQL in ${adapter}`, () => {
    let server: TestServer;
    let sql: SQL;
    beforeAll(async () => {
      server = await start();
      sql = new SQL({ url: server.url, adapter, max: 1 });
      await sql.unsafe("CREATE TABLE accounts (id bigint PRIMARY KEY, name varchar(100), code varchar(20))");
    }, 300_000);
    afterAll(async () => {
      await sql.close();
      await server[Symbol.asyncDispose]();
    });

    const withBackend = async (userSql: UserSqlTexts, work: (backend: Backend) => Promise<void>) => {
      const backend = createBackend(backendSettings(server.url, { userSql }));
      await work(backend).finally(() => backend.close());
    };
    const readOnly = (read: string): UserSqlTexts => ({ read, write: null, remove: null });
    const seed = async () => {
      await sql.unsafe("DELETE FROM accounts");
      await sql.unsafe("INSERT INTO accounts VALUES (1, 'one', '1'), (42, 'forty-two', '42'), (0, 'zero', '1abc')");
    };

    const WRONG = [
      ...[
        "acct:42:extra",
        "acct",
        "acct:",
        "acct:1abc",
        "acct:01",
        "acct:+1",
        "acct: 1",
        "acct:1 ",
        "acct:1.0",
        "acct:1e0",
      ],
      ...[
        "acct:abc",
        "acct:-0",
        "acct:0x1",
        "acct:9223372036854775808",
        "acct:1 OR 1=1",
        "acct:😀",
        `acct:${"1".repeat(64 * 1024)}`,
      ],
    ];

    test("a key that is not one number is absent without a query, and its writes are refused", async () => {
      await seed();
      await withBackend(ACCOUNTS, async (backend) => {
        expect((await backend.load(["acct:42", "acct:1"], IN_TIME)).map(textOf)).toEqual(['"forty-two"', '"one"']);
        for (const key of WRONG) {
          expect((await backend.write([jsonRow(key, "2", 1)], IN_TIME)).map((result) => result.kind)).toEqual([
            "refused",
          ]);
          expect((await backend.write([deleteRow(key, 1)], IN_TIME)).map((result) => result.kind)).toEqual(["refused"]);
        }
        expect((await backend.load(["acct:42", "acct:1", "acct:0"], IN_TIME)).map(textOf)).toEqual([
          '"forty-two"',
          '"one"',
          '"zero"',
        ]);
        // A query would wait for the lock, and fail.
        await sql.unsafe(adapter === "mysql" ? "LOCK TABLES accounts WRITE" : "BEGIN");
        if (adapter === "postgres") await sql.unsafe("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE");
        const loaded = await backend.load(WRONG, { timeoutMs: 10_000 });
        await sql.unsafe(adapter === "mysql" ? "UNLOCK TABLES" : "ROLLBACK");
        expect(loaded.map(textOf)).toEqual(WRONG.map(() => "absent"));
      });
    });

    test("a part that is cast to a number has to be one", async () => {
      await seed();
      const cast = adapter === "mysql" ? "SIGNED" : "bigint";
      for (const type of [cast, "decimal"]) {
        await withBackend(readOnly(`SELECT name FROM accounts WHERE id = CAST(:2 AS ${type})`), async (backend) => {
          const keys = ["acct:42", "acct:42abc", "acct:042", "acct:abc"];
          expect((await backend.load(keys, IN_TIME)).map(textOf)).toEqual([
            '"forty-two"',
            "absent",
            "absent",
            "absent",
          ]);
        });
      }
    });

    test("text is compared as text, also where it looks like a number", async () => {
      await seed();
      await withBackend(readOnly("SELECT id FROM accounts WHERE code = :2"), async (backend) => {
        const keys = ["code:1", "code:1abc", "code:01", "code:1.0"];
        expect((await backend.load(keys, IN_TIME)).map(textOf)).toEqual(["1", "0", "absent", "absent"]);
      });
    });

    test("the largest integers are told apart", async () => {
      await sql.unsafe("DELETE FROM accounts");
      await sql.unsafe(
        "INSERT INTO accounts VALUES (9007199254740993, 'odd', ''), (-9223372036854775808, 'least', '')",
      );
      await withBackend(ACCOUNTS, async (backend) => {
        const keys = ["a:9007199254740992", "a:9007199254740993", "a:-9223372036854775808"];
        expect((await backend.load(keys, IN_TIME)).map(textOf)).toEqual(["absent", '"odd"', '"least"']);
      });
    });

    test("a statement that the database does not take is told with its variable and why, and so are its columns", async () => {
      const said = async (userSql: UserSqlTexts) => {
        const backend = createBackend(backendSettings(server.url, { userSql }));
        const error: unknown = await backend.check(IN_TIME).catch((cause: unknown) => cause);
        await backend.close();
        return error instanceof Error ? error.message : "nothing";
      };
      expect(await said(ACCOUNTS)).toBe("nothing");
      expect(await said(readOnly("SELECT nope FROM accounts WHERE id = :2"))).toMatch(
        /^SERV_CACHE_BACKEND_READ_SQL: the database does not take this statement: .*nope/,
      );
      expect(await said({ ...ACCOUNTS, write: "INSERT INTO nowhere VALUES (:2, :value)" })).toMatch(
        /^SERV_CACHE_BACKEND_WRITE_SQL: the database does not take this statement: .*nowhere/,
      );
      expect(await said({ ...ACCOUNTS, remove: "DELETE accounts WHERE id = :2" })).toMatch(
        /^SERV_CACHE_BACKEND_DELETE_SQL/,
      );
      expect(await said(readOnly("SELECT id, name AS id FROM accounts WHERE id = :2"))).toBe(
        'SERV_CACHE_BACKEND_READ_SQL gives two columns named "id"; rename one of them with AS',
      );
      expect(await said(readOnly("DELETE FROM accounts WHERE id = :2"))).toBe(
        "SERV_CACHE_BACKEND_READ_SQL gives no columns; it has to be a query",
      );
    });

    test("a value keeps its digits and has its times in ISO 8601", async () => {
      const isMySql = adapter === "mysql";
      await sql.unsafe(
        `CREATE TABLE things (id int PRIMARY KEY, data ${isMySql ? "JSON" : "json"}, n decimal(30,10), big bigint, day date,
          at ${isMySql ? "datetime" : "timestamp"}, bin ${isMySql ? "blob" : "bytea"})`,
      );
      await sql.unsafe(
        `INSERT INTO things VALUES (1, '{"a": 1.0, "b": 12345678901234567890}', 12345678901234567890.1000000000,
          9007199254740993, '2026-01-31', '2026-01-31 10:20:30', ${isMySql ? "x'00ff'" : "'\\x00ff'"})`,
      );
      const load = async (read: string) => {
        const backend = createBackend(backendSettings(server.url, { userSql: readOnly(read) }));
        const [result] = await backend.load(["t:1"], IN_TIME);
        await backend.close();
        return result;
      };
      expect(textOf(await load("SELECT data FROM things WHERE id = :2"))).toBe('{"a": 1.0, "b": 12345678901234567890}');
      expect(textOf(await load("SELECT data, n, big, day, at, bin FROM things WHERE id = :2"))).toBe(
        '{"data":{"a": 1.0, "b": 12345678901234567890},"n":12345678901234567890.1000000000,"big":9007199254740993,' +
          '"day":"2026-01-31","at":"2026-01-31T10:20:30","bin":"AP8="}',
      );
      expect(await load("SELECT bin AS value, 'image/png' AS content_type FROM things WHERE id = :2")).toEqual({
        kind: "found",
        value: { bytes: Buffer.from([0, 255]), contentType: "image/png" },
      });
    });

    if (adapter === "postgres") {
      test("values do not depend on how the server shows them", async () => {
        await sql.unsafe("ALTER ROLE servcache SET bytea_output = 'escape'");
        await sql.unsafe("ALTER ROLE servcache SET datestyle = 'German'");
        await sql.unsafe("ALTER ROLE servcache SET timezone = 'Asia/Kolkata'");
        const read =
          "SELECT '\\x00ff'::bytea AS bin, timestamptz '2026-01-31 10:20:30.5+00' AS at, CAST(:1 AS date) AS day";
        await withBackend(readOnly(read), async (backend) => {
          expect((await backend.load(["2026-01-31"], IN_TIME)).map(textOf)).toEqual([
            '{"bin":"AP8=","at":"2026-01-31T15:50:30.5+05:30","day":"2026-01-31"}',
          ]);
          expect((await backend.load(["31.01.2026"], IN_TIME)).map(textOf)).toEqual(["absent"]);
        });
        await sql.unsafe("ALTER ROLE servcache RESET ALL");
      });
    }
  });
}
