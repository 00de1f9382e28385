import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { BackendConfigError } from "../../src/backend/backend.ts";
import { createBackend } from "../../src/backend/create-backend.ts";
import { jsonRow, testBackend, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { tempFolder } from "../support/temp-folder.ts";

const IN_TIME = { timeoutMs: 60_000 };
const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());
let files = 0;
const nextFile = () => join(folder.path, `${files++}.db`);

testBackend({
  name: "SQLite",
  async create() {
    const file = nextFile();
    using database = new Database(file);
    database.run(
      `CREATE TABLE servcache_entries (key TEXT NOT NULL PRIMARY KEY CHECK (key <> 'poison'), value TEXT, bytes BLOB,
        content_type TEXT NOT NULL, version INTEGER NOT NULL, updated_at TEXT NOT NULL DEFAULT '')`,
    );
    return createBackend(backendSettings(`sqlite:${file}`));
  },
  refusedRow: jsonRow("poison", "1", 1),
  comparesVersions: true,
});

describe("SQLite as a backend", () => {
  test("the table is made where there is none, and is there after a restart", async () => {
    const file = nextFile();
    const first = createBackend(backendSettings(`sqlite:${file}`));
    expect(await first.write([jsonRow("a", "1", 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    await first.close();
    const second = createBackend(backendSettings(`sqlite://${file}`));
    expect((await second.load(["a"], IN_TIME)).map(textOf)).toEqual(["1"]);
    await second.close();
  });

  test("a lock of another process makes a write try again, not fail for good", async () => {
    const file = nextFile();
    const backend = createBackend(backendSettings(`sqlite:${file}`));
    await backend.load(["a"], IN_TIME);
    using other = new Database(file);
    other.run("BEGIN IMMEDIATE");
    expect((await backend.write([jsonRow("a", "1", 1)], IN_TIME))[0]?.kind).toBe("retry");
    other.run("ROLLBACK");
    expect(await backend.write([jsonRow("a", "1", 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    await backend.close();
  });

  test("a file that is no database is unavailable, not empty", async () => {
    const file = nextFile();
    await Bun.write(file, "x".repeat(10_000));
    const backend = createBackend(backendSettings(`sqlite:${file}`));
    const [loaded] = await backend.load(["a"], IN_TIME);
    expect(loaded?.kind === "failed" ? loaded.error.code : loaded?.kind).toBe("ERR_BACKEND_UNAVAILABLE");
    await backend.close();
  });

  test("rows of the user's own tables become values", async () => {
    const file = nextFile();
    {
      using database = new Database(file);
      database.run("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)");
      database.run("INSERT INTO users VALUES (101, 'Ann')");
    }
    const read = async (text: string) => {
      const userSql = { read: text, write: null, remove: null };
      const backend = createBackend(backendSettings(`sqlite:${file}`, { userSql }));
      const [result] = await backend.load(["user:101"], IN_TIME);
      await backend.close();
      return textOf(result);
    };
    expect(await read("SELECT id, name FROM users WHERE id = :2")).toBe('{"id":101,"name":"Ann"}');
    expect(await read("SELECT name FROM users WHERE id = :2")).toBe('"Ann"');
    expect(await read("SELECT id FROM users WHERE id = :2")).toBe("101");
    expect(await read("SELECT name AS value, id FROM users WHERE id = :2")).toBe('"Ann"');
  });
});

describe("settings that can't be used", () => {
  const create = (url: string, changes = {}) => createBackend(backendSettings(url, changes));

  test("an unknown kind of URL says which kinds there are", () => {
    expect(() => create("mongodb://h/x")).toThrow(BackendConfigError);
    expect(() => create("mongodb://h/x")).toThrow("postgres://");
  });

  test("a table name that is not one is refused", () => {
    expect(() => create("sqlite:/tmp/x", { table: 'a"; DROP TABLE b; --' })).toThrow("SERV_CACHE_BACKEND_TABLE");
    expect(() => create("postgres://h/x", { table: "a.b.c" })).toThrow("SERV_CACHE_BACKEND_TABLE");
  });

  test("a SQLite URL without a file is refused", () => {
    expect(() => create("sqlite:")).toThrow("names no file");
    expect(() => create("sqlite::memory:")).toThrow("names no file");
  });

  test("SQL for an HTTP backend is refused", () => {
    const userSql = { read: "SELECT 1 WHERE :key", write: null, remove: null };
    expect(() => create("http://h/x", { userSql })).toThrow("needs a database");
  });
});
