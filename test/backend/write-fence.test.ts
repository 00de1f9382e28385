/** What a session was sent before it was given up is carried out before newer writes of its keys, or never. */
import { expect } from "bun:test";
import { join } from "node:path";
import { SQL } from "bun";
import type { Backend, BackendRow } from "../../src/backend/backend.ts";
import { type BackendSettings, createBackend } from "../../src/backend/create-backend.ts";
import { SessionLedger } from "../../src/backend/sql/session-ledger.ts";
import { deleteRow, jsonRow, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const IN_TIME = { timeoutMs: 60_000 };
const USER_SQL = { read: "SELECT v FROM notes WHERE k = :key", remove: "DELETE FROM notes WHERE k = :key" };

/** Writes rows one after the other, from the first one that is not done; true = all are. */
function inOrder(rows: readonly BackendRow[]): (backend: Backend) => Promise<boolean> {
  const left = [...rows];
  return async (backend) => {
    while (left[0] !== undefined) {
      if ((await backend.write([left[0]], IN_TIME))[0]?.kind !== "written") return false;
      left.shift();
    }
    return true;
  };
}

const postgres = needing("postgres");
postgres.describe("sessions of PostgreSQL whose process stands still", () => {
  let server: TestServer;
  let sql: SQL;
  postgres.beforeAll(async () => {
    server = await startPostgres();
    sql = new SQL({ url: server.url, max: 1 });
    await sql.unsafe("CREATE TABLE notes (k text PRIMARY KEY, v text)");
    await sql.unsafe("CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; GRANT ALL ON notes TO one, two;").simple();
  }, 300_000);
  postgres.afterAll(async () => {
    await sql.close();
    await server[Symbol.asyncDispose]();
  });

  const pgUserSql = {
    ...USER_SQL,
    write: "INSERT INTO notes VALUES (:key, :value) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
  };

  async function sessions(): Promise<number[]> {
    const rows: { pid: number }[] = await sql.unsafe(
      "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    return rows.map(({ pid }) => pid);
  }

  /** The processes of what `backend` has open stand still until `run` is called, which settles when they are over. */
  async function freeze(): Promise<() => Promise<void>> {
    const pids = await sessions();
    expect(pids.length).toBeGreaterThan(0);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    return async () => {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    };
  }

  const both: [string, Partial<BackendSettings>, BackendRow, string][] = [
    ["our table, a delete", {}, deleteRow("a", 3), "absent"],
    ["SQL that compares no versions, a put", { userSql: pgUserSql }, jsonRow("a", '"new"', 3), '"new"'],
    ["SQL that compares no versions, a delete", { userSql: pgUserSql }, deleteRow("a", 3), "absent"],
  ];

  for (const isRestart of [true, false]) {
    postgres.test.each(both)(
      isRestart
        ? "nothing of before a restart undoes what came after it: %s"
        : "nothing given up undoes later writes: %s",
      async (_, changes, newer, outcome) => {
        using folder = tempFolder();
        const settings = backendSettings(server.url, { sessionsFile: join(folder.path, "sessions"), ...changes });
        const before = createBackend({ ...settings, writeConnections: 1, writeTimeoutMs: 60_000 });
        await before.write([jsonRow("b", "1", 1), deleteRow("a", 1)], IN_TIME);
        const goOn = await freeze();
        const frozen = await sessions();
        expect((await before.write([jsonRow("a", '"late"', 2)], { timeoutMs: 1_000 }))[0]?.kind).toBe("retry");
        if (isRestart) await before.close();
        const backend = isRestart ? createBackend(settings) : before;
        const replay = inOrder([jsonRow("a", '"late"', 2), newer]);
        await replay(backend);
        expect(backend.problem).toContain(`at the database ${frozen[0]}`);
        await goOn();
        await until("all is written", () => replay(backend));
        await until("the old sessions are over", async () => !(await sessions()).some((pid) => frozen.includes(pid)));
        expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual([outcome]);
        expect(backend.problem).toBe("");
        await backend.close();
      },
      300_000,
    );
  }

  postgres.test("a session of another user can't be ended: writes wait, and say for whom", async () => {
    using folder = tempFolder();
    const settingsOf = (user: string) =>
      backendSettings(server.url.replace("servcache@", `${user}@`), {
        sessionsFile: join(folder.path, "sessions"),
        userSql: pgUserSql,
      });
    const before = createBackend(settingsOf("one"));
    await before.write([jsonRow("c", "1", 1)], IN_TIME);
    const [pid = 0] = await sessions();
    // Its client is still there.
    const next = createBackend(settingsOf("two"));
    const [result] = await next.write([jsonRow("c", "2", 2)], IN_TIME);
    expect(result?.kind === "retry" ? result.error.message : result?.kind).toContain(
      `at the database ${pid}: they could not`,
    );
    expect(next.problem).toMatch(/could not be ended \((must be a member|permission denied)/);
    await sql.unsafe(`SELECT pg_terminate_backend(${pid})`);
    const replay = inOrder([jsonRow("c", "2", 2)]);
    await until("it is written", () => replay(next));
    await before.close();
    await next.close();
  });

  postgres.test(
    "a connection that a pooler has passed to another client bears its name, and is not ended",
    async () => {
      using folder = tempFolder();
      const path = join(folder.path, "sessions");
      const ours = "servcache-0123456789abcdef01234567";
      const ledger = new SessionLedger(path);
      ledger.add(ours);
      ledger.close();
      const pooled = new SQL({ url: server.url, max: 1 });
      await pooled.unsafe(`SET application_name = '${ours}'`);
      await pooled.unsafe("SET application_name = 'another'");
      const pid = async () => (await pooled.unsafe("SELECT pg_backend_pid() AS pid"))[0].pid;
      const before = await pid();
      const backend = createBackend(backendSettings(server.url, { sessionsFile: path }));
      expect(await backend.write([jsonRow("c", "2", 2)], IN_TIME)).toEqual([{ kind: "written" }]);
      expect(await pid()).toBe(before);
      expect(new SessionLedger(path).has(ours)).toBe(false);
      await pooled.close();
      await backend.close();
    },
  );
});

const mariadb = needing("mariadbd");
mariadb.describe("sessions of MariaDB that wait for a lock", () => {
  let server: TestServer;
  let sql: SQL;
  mariadb.beforeAll(async () => {
    server = await startMariaDb();
    sql = new SQL({ url: server.url, adapter: "mysql", max: 1 });
    await sql.unsafe("CREATE TABLE notes (k VARCHAR(50) PRIMARY KEY, v TEXT)");
    await createBackend(backendSettings(server.url)).load(["make the table"], IN_TIME);
    for (const [table, value] of [
      ["notes", "v"],
      ["servcache_entries", "`value`"],
    ]) {
      await sql.unsafe(
        `CREATE TRIGGER late_${table} BEFORE INSERT ON ${table} FOR EACH ROW
         BEGIN IF NEW.${value} = '"late"' THEN DO GET_LOCK('gate', 100); DO RELEASE_LOCK('gate'); END IF; END`,
      );
    }
  }, 300_000);
  mariadb.afterAll(async () => {
    await sql.close();
    await server[Symbol.asyncDispose]();
  });

  const mySql = { ...USER_SQL, write: "REPLACE INTO notes VALUES (:key, :value)" };
  const waiting = async (): Promise<number> => {
    const [row] = await sql.unsafe(
      "SELECT count(*) AS n FROM information_schema.processlist WHERE state = 'User lock'",
    );
    return Number(row.n);
  };

  const both: [string, Partial<BackendSettings>, BackendRow, string][] = [
    ["our table, a delete", {}, deleteRow("a", 3), "absent"],
    ["SQL that compares no versions, a put", { userSql: mySql }, jsonRow("a", '"new"', 3), '"new"'],
  ];

  for (const isRestart of [true, false]) {
    mariadb.test.each(both)(
      isRestart
        ? "nothing of before a restart undoes what came after it: %s"
        : "nothing given up undoes later writes: %s",
      async (_, changes, newer, outcome) => {
        using folder = tempFolder();
        const settings = backendSettings(server.url, {
          sessionsFile: join(folder.path, "sessions"),
          writeTimeoutMs: 100_000,
          ...changes,
        });
        await sql.unsafe("DO GET_LOCK('gate', 0)");
        const before = createBackend(settings);
        const gaveUp = new AbortController();
        const late = before.write([jsonRow("a", '"late"', 2)], { timeoutMs: 100_000, signal: gaveUp.signal });
        await until("the late write is under way", async () => (await waiting()) === 1);
        gaveUp.abort();
        expect((await late)[0]?.kind).toBe("retry");
        if (isRestart) await before.close();
        const backend = isRestart ? createBackend(settings) : before;
        const replay = inOrder([newer]);
        await until("the newer write is done", () => replay(backend));
        await sql.unsafe("DO RELEASE_LOCK('gate')");
        await until("the late write is over", async () => (await waiting()) === 0);
        expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual([outcome]);
        expect(backend.problem).toBe("");
        await backend.close();
      },
      300_000,
    );
  }
});
