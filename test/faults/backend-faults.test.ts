/** What comes of a backend that is slow, hangs, dies, or answers garbage: DESIGN 7, promises 1 and 4. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { SQL } from "bun";
import type { Backend, LoadResult } from "../../src/backend/backend.ts";
import { createBackend } from "../../src/backend/create-backend.ts";
import { WriteBehind } from "../../src/backend/write-behind.ts";
import { DataDirectory } from "../../src/outbox/data-directory.ts";
import { Outbox } from "../../src/outbox/outbox.ts";
import { systemScheduler } from "../../src/runtime/scheduler.ts";
import { jsonRow, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startHttpStore } from "../support/http-store.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { put } from "../support/test-outbox.ts";
import { until } from "../support/until.ts";

const IN_TIME = { timeoutMs: 60_000 };
const codeOf = (result: LoadResult | undefined) => (result?.kind === "failed" ? result.error.code : result?.kind);

/** The faults that every server's driver has to stand. */
function testFaults(
  { describe }: Pick<ReturnType<typeof needing>, "describe">,
  name: string,
  start: () => Promise<TestServer | { readonly url: string; readonly port: number }>,
) {
  describe(`faults between a node and ${name}`, () => {
    let server: Awaited<ReturnType<typeof start>>;
    let proxy: TcpProxy;
    let backend: Backend;
    beforeAll(async () => {
      server = await start();
      proxy = await startTcpProxy(server.port);
      backend = createBackend(backendSettings(server.url.replace(`:${server.port}`, `:${proxy.port}`)));
      expect(await backend.write([jsonRow("a", '"value of a"', 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    }, 300_000);
    afterAll(async () => {
      await backend.close();
      proxy[Symbol.dispose]();
      if (Symbol.asyncDispose in server) await server[Symbol.asyncDispose]();
    });

    async function worksAgain(): Promise<void> {
      proxy.mode = { kind: "pass" };
      await until(
        "the backend answers again",
        async () => textOf((await backend.load(["a"], IN_TIME))[0]) === '"value of a"',
      );
      expect(await backend.write([jsonRow("again", "1", 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    }

    test("a hang ends at the call's time, for many calls at once, and leaves nothing stuck", async () => {
      proxy.mode = { kind: "hang" };
      const calls = Array.from({ length: 20 }, (_, i) => backend.load([`k${i}`], { timeoutMs: 300 }));
      const result = await Promise.all(calls);
      expect(new Set(result.flat().map(codeOf))).toEqual(new Set(["ERR_BACKEND_TIMEOUT"]));
      const written = await backend.write([jsonRow("a", "1", 1)], { timeoutMs: 300 });
      expect(written[0]?.kind).toBe("retry");
      await worksAgain();
    }, 300_000);

    test("a slow answer is waited for within the call's time, and not beyond", async () => {
      proxy.mode = { kind: "delay", ms: 50 };
      expect((await backend.load(["a"], IN_TIME)).map(textOf)).toEqual(['"value of a"']);
      proxy.mode = { kind: "delay", ms: 2_000 };
      expect((await backend.load(["a"], { timeoutMs: 200 })).map(codeOf)).toEqual(["ERR_BACKEND_TIMEOUT"]);
      await worksAgain();
    }, 300_000);

    test("connections that are cut in mid-call are failures, and replaced", async () => {
      proxy.mode = { kind: "hang" };
      const load = backend.load(["a"], IN_TIME);
      await until("the call is under way", () => proxy.connections > 0);
      const cutting = setInterval(() => proxy.cut(), 20);
      const result = await load;
      clearInterval(cutting);
      expect(result.map(codeOf)).toEqual(["ERR_BACKEND_UNAVAILABLE"]);
      await worksAgain();
    }, 300_000);

    test("refused connections are failures, at once", async () => {
      proxy.mode = { kind: "refuse" };
      proxy.cut();
      await until("connections are refused", async () => (await backend.load(["a"], IN_TIME))[0]?.kind === "failed");
      const result = await backend.load(["a"], IN_TIME);
      expect(result.map(codeOf)).toEqual(["ERR_BACKEND_UNAVAILABLE"]);
      await worksAgain();
    }, 300_000);

    test("garbage is a failure, never a value and never an absence", async () => {
      proxy.mode = { kind: "corrupt" };
      for (let i = 0; i < 3; i++) {
        const [loaded] = await backend.load(["a"], { timeoutMs: 300 });
        expect(loaded?.kind).toBe("failed");
        const [written] = await backend.write([jsonRow("garbage", "1", 1)], { timeoutMs: 300 });
        expect(written?.kind).toBe("retry");
      }
      await worksAgain();
    }, 300_000);

    test("an answer that ends anywhere in the middle is a failure", async () => {
      for (const bytes of [1, 10, 60, 100, 150, 300, 350, 400, 450, 500, 600]) {
        proxy.mode = { kind: "truncate", bytes };
        const [loaded] = await backend.load(["a"], { timeoutMs: 300 });
        // On a connection of its own login, a cut after the answer harms nothing: then it is the whole value.
        expect(loaded?.kind === "failed" || textOf(loaded) === '"value of a"').toBe(true);
      }
      await worksAgain();
    }, 300_000);
  });
}

testFaults(needing("postgres"), "PostgreSQL", () => startPostgres());
testFaults(needing("mariadbd"), "MariaDB", () => startMariaDb());
testFaults({ describe }, "an HTTP backend", async () => {
  const store = startHttpStore();
  return {
    url: store.url,
    port: Number(new URL(store.url).port),
    [Symbol.asyncDispose]: async () => store[Symbol.dispose](),
  };
});

needing("postgres", "ps").describe("PostgreSQL itself", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startPostgres();
  }, 300_000);
  afterAll(() => server[Symbol.asyncDispose]());

  /** The server's processes, of which each connection has one. */
  async function signalAll(signal: "STOP" | "CONT"): Promise<void> {
    const children = Bun.spawnSync(["ps", "-o", "pid=", "--ppid", String(server.process.pid)]).stdout.toString();
    const pids = [String(server.process.pid), ...children.split("\n").map((pid) => pid.trim())].filter(
      (pid) => pid !== "",
    );
    Bun.spawnSync(["kill", `-${signal}`, ...pids]);
  }

  test("stopped with SIGSTOP bounds every call by its time, and works on after SIGCONT", async () => {
    const backend = createBackend(backendSettings(server.url));
    await backend.write([jsonRow("a", "1", 1)], IN_TIME);
    await signalAll("STOP");
    const result = await Promise.all(Array.from({ length: 10 }, (_, i) => backend.load([`k${i}`], { timeoutMs: 500 })));
    await signalAll("CONT");
    expect(new Set(result.flat().map(codeOf))).toEqual(new Set(["ERR_BACKEND_TIMEOUT"]));
    await until("it answers again", async () => textOf((await backend.load(["a"], IN_TIME))[0]) === "1");
    await backend.close();
  }, 300_000);

  test("killed and started again under write load gets every write, the newest of each key", async () => {
    using folder = tempFolder();
    using directory = DataDirectory.open(folder.path);
    const backend = createBackend(backendSettings(server.url, { table: "killed" }));
    const outbox = Outbox.open(directory, {
      sync: "normal",
      limitPages: null,
      limitBytes: 1024 * 1024 * 1024,
      scheduler: systemScheduler,
      defer: (run) => setImmediate(run),
    });
    const writer = new WriteBehind({
      outbox,
      backend,
      destination: "backend",
      delayMs: 10,
      batchRows: 500,
      batchBytes: 8_000_000,
      concurrency: 2,
      attempts: 10,
      timeoutMs: 5_000,
      backoffFirstMs: 20,
      backoffMaxMs: 200,
      scheduler: systemScheduler,
      random: Math.random,
    });
    writer.start();
    const newest = new Map<string, number>();
    let version = 0;
    let isOver = false;
    const load = async () => {
      while (!isOver) {
        const mine = ++version;
        const key = `key:${(mine * 7919) % 2000}`;
        await outbox.append([put(key, String(mine), mine)]);
        newest.set(key, Math.max(newest.get(key) ?? 0, mine));
        if (mine % 50 === 0) await Bun.sleep(1);
      }
    };
    const loads = Array.from({ length: 8 }, load);
    for (let kill = 0; kill < 3; kill++) {
      const before = writer.stats().written;
      await until("some writes came through", () => writer.stats().written > before + 500);
      await server.process.kill();
      const failures = writer.stats().failures;
      await until("the outage was noticed", () => writer.stats().failures > failures + 1);
      await server.process.start();
    }
    isOver = true;
    await Promise.all(loads);
    expect(await writer.drain(20_000)).toBe(0);
    await writer.stop();
    outbox.close();
    await backend.close();
    const sql = new SQL({ url: server.url, max: 1 });
    const rows: { key: string; value: string }[] = await sql.unsafe("SELECT key, value::text AS value FROM killed");
    await sql.close();
    const stored = new Map(rows.map((row) => [row.key, Number(row.value)]));
    expect(newest.size).toBeGreaterThan(1_000);
    expect([...newest].filter(([key, value]) => stored.get(key) !== value)).toEqual([]);
  }, 300_000);
});
