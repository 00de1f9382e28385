import { expect } from "bun:test";
import { EngineUnavailableError } from "../../src/engine/engine.ts";
import { makeOutages } from "../../src/engine/redis/breaker.ts";
import type { RedisEngineSettings } from "../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../src/engine/redis/redis-url.ts";
import { CollectingSink, HeadSink, keyOf } from "../support/collecting-sink.ts";
import { EngineCalls } from "../support/engine-calls.ts";
import { globPattern } from "../support/glob-pattern.ts";
import { needing } from "../support/needing.ts";
import { PlainEngine } from "../support/plain-engine.ts";
import { freePort, RedisServer } from "../support/redis-server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { eventually } from "../support/until.ts";

const { afterEach, describe, test } = needing("redis-server");

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(args: string[] = []) {
  const server = await RedisServer.start(args);
  cleanups.push(() => server.stop());
  return server;
}

async function startProxy(server: RedisServer) {
  const proxy = await startTcpProxy(server.port);
  cleanups.push(() => proxy[Symbol.dispose]());
  return { proxy, url: `redis://127.0.0.1:${proxy.port}` };
}

async function openEngine(url: string, settings: Partial<RedisEngineSettings> = {}, firstVersion = 1) {
  const engine = await createRedisEngine({ target: parseRedisUrl(url), ...settings });
  cleanups.push(() => engine.close());
  return new EngineCalls(engine, firstVersion);
}

const statusOf = ({ engine }: EngineCalls) => engine.health().status;

/** What a call is rejected with. */
async function errorOf(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return { resolved: await call() };
  } catch (error) {
    return error;
  }
}

/** Every call of an engine. */
function allCalls(calls: EngineCalls): (() => Promise<unknown>)[] {
  return [
    () => calls.get("k"),
    async () => calls.engine.peek(keyOf("k"), new HeadSink()),
    async () => calls.engine.stampOf(keyOf("k")),
    () => calls.put("k", "1"),
    () => calls.delete("k"),
    () => calls.touch("k", 1),
    () => calls.increment("k", 1),
    async () => calls.engine.scan({ pattern: null, cursor: null, limit: 1 }),
    () => calls.engine.deleteMatching(globPattern("*"), calls.stamp()),
    async () => calls.engine.clear(calls.stamp()),
  ];
}

describe("while Redis is away", () => {
  test("every call is refused at once with ERR_ENGINE_UNAVAILABLE, and works when it is back", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url);
    await server.kill();
    expect(await errorOf(() => calls.get("k"))).toBeInstanceOf(EngineUnavailableError);
    await eventually(() => statusOf(calls) === "unavailable");
    // In our words: no option of the client's is of use to whoever reads it.
    expect(calls.engine.health().detail).toMatch(/^Redis is away: (the connection is lost|connect ECONNREFUSED)/);
    for (const call of allCalls(calls)) {
      expect(await errorOf(call)).toMatchObject({
        code: "ERR_ENGINE_UNAVAILABLE",
        retryAfterMs: 1000,
        message: expect.stringMatching(/^Redis is not available: /),
      });
    }
    expect(() => calls.engine.requireReachable?.(keyOf("k"))).toThrow(EngineUnavailableError);
    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    expect(await calls.put("k", "1")).toBe("stored");
    expect(() => calls.engine.requireReachable?.(null)).not.toThrow();
  }, 300_000);

  test("a time-out is an error of every call and never a miss, by whichever way it is read", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, { commandTimeoutMs: 100 });
    await calls.put("k", "1");
    server.freeze();
    const errors: unknown[] = [];
    const late = Promise.withResolvers<unknown>();
    const sink = new CollectingSink();
    const reader = Object.assign(sink, {
      done: (isFound: boolean) => late.resolve(isFound ? "found" : "missed"),
      failed: (error: unknown) => late.resolve(error),
    });
    expect(calls.engine.getLater?.(keyOf("k"), reader)).toBe(true);
    await Promise.all(allCalls(calls).map(async (call) => errors.push(await errorOf(call))));
    errors.push(await late.promise);
    for (const error of errors) expect(error).toBeInstanceOf(EngineUnavailableError);
    server.thaw();
    await eventually(() => statusOf(calls) === "ok");
  }, 300_000);

  test("a write that timed out says that its outcome is unknown, and a conditional retry is safe", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url);
    await calls.put("n", "10");
    // The server knows the script from now on, so that the frozen one will execute what it was sent.
    expect(await calls.increment("n", 1)).toEqual({ kind: "incremented", value: 11 });
    server.freeze();
    expect(await errorOf(() => calls.increment("n", 1))).toMatchObject({
      code: "ERR_ENGINE_UNAVAILABLE",
      message: expect.stringContaining("Whether this write was done is not known"),
    });
    await eventually(() => statusOf(calls) === "unavailable");
    // Refused before it was sent: nothing is in doubt about this one.
    const refused = await errorOf(() => calls.increment("n", 1));
    expect(refused).toBeInstanceOf(EngineUnavailableError);
    expect(String(refused)).not.toContain("not known");
    server.thaw();
    await eventually(() => statusOf(calls) === "ok");
    expect(await calls.get("n")).toBe("12");
  }, 300_000);

  test("one failed call is enough to say so, in health and in one line of the log", async () => {
    const server = await startServer();
    const lines: string[] = [];
    const calls = await openEngine(server.url, { log: (line) => lines.push(line) });
    server.freeze();
    expect(await errorOf(() => calls.get("k"))).toBeInstanceOf(EngineUnavailableError);
    await eventually(() => statusOf(calls) === "unavailable");
    const { detail } = calls.engine.health();
    expect(detail).toMatch(/^Redis is away: Redis did not answer \w+ within \d+ ms$/);
    server.thaw();
    await eventually(() => statusOf(calls) === "ok");
    expect(lines).toEqual([detail, "Redis is back"]);
  }, 300_000);

  test("a node starts", async () => {
    const port = await freePort();
    const calls = await openEngine(`redis://127.0.0.1:${port}`, { connectTimeoutMs: 100 });
    expect(statusOf(calls)).toBe("unavailable");
    expect(await errorOf(() => calls.put("k", "1"))).toBeInstanceOf(EngineUnavailableError);
  });

  test("the time with a lost link is over with the link: a call in between waits for it", async () => {
    const server = await startServer();
    const { proxy, url } = await startProxy(server);
    const calls = await openEngine(url, { commandTimeoutMs: 5000 });
    await calls.put("n", "0");
    for (let round = 1; round <= 5; round++) {
      proxy.cut();
      await eventually(() => proxy.connections === 0);
      expect(await calls.increment("n", 1)).toEqual({ kind: "incremented", value: round });
      proxy.cut();
      expect(await calls.get("n")).toBe(String(round));
    }
    expect(statusOf(calls)).toBe("ok");
  }, 300_000);
});

describe("two threads", () => {
  test("have one view: the one whose link hangs stops both, says so once, and both go on together", async () => {
    const server = await startServer();
    const { proxy, url } = await startProxy(server);
    const lines: string[] = [];
    const shared = { outages: makeOutages(), log: (line: string) => lines.push(line) };
    const first = await openEngine(url, shared);
    const second = await openEngine(server.url, shared, 1_000_000);
    await second.put("k", "1");
    proxy.mode = { kind: "hang" };
    expect(await errorOf(() => first.get("k"))).toBeInstanceOf(EngineUnavailableError);
    await eventually(() => statusOf(second) === "unavailable");
    expect(first.engine.health()).toEqual(second.engine.health());
    expect(await errorOf(() => second.get("k"))).toBeInstanceOf(EngineUnavailableError);
    expect(await errorOf(() => second.put("k", "2"))).toBeInstanceOf(EngineUnavailableError);
    // The link that swallowed what it got stays open and dead: it must be given up without a restart.
    proxy.mode = { kind: "pass" };
    await eventually(() => statusOf(second) === "ok");
    expect(lines.length).toBe(2);
    expect(await first.get("k")).toBe("1");
    expect(await second.get("k")).toBe("1");
  }, 300_000);

  test("lose none of what was acknowledged when a server hangs and goes on, and read nothing older", async () => {
    const server = await startServer();
    const outages = makeOutages();
    const threads = [await openEngine(server.url, { outages }), await openEngine(server.url, { outages }, 1_000_000)];
    const acknowledged = new Map<string, number>();
    const tried = new Map<string, number>();
    const wrong: string[] = [];
    let isOver = false;
    let failures = 0;
    const work = async (calls: EngineCalls, name: string) => {
      for (let value = 1; !isOver; value++) {
        for (let at = 0; at < 8; at++) {
          const key = `${name}:${at}`;
          tried.set(key, value);
          try {
            await calls.put(key, String(value));
            acknowledged.set(key, value);
            const seen = Number(await calls.get(key));
            if (seen !== value) wrong.push(`${key} is ${seen} after ${value}`);
          } catch (error) {
            if (!(error instanceof EngineUnavailableError)) throw error;
            failures++;
          }
        }
        await Bun.sleep(1);
      }
    };
    const writers = threads.flatMap((calls, at) => [work(calls, `a${at}`), work(calls, `b${at}`)]);
    await eventually(() => acknowledged.size === 32);
    for (let round = 0; round < 3; round++) {
      server.freeze();
      const before = failures;
      await eventually(() => failures > before && threads.every((calls) => statusOf(calls) === "unavailable"));
      server.thaw();
      await eventually(() => threads.every((calls) => statusOf(calls) === "ok"));
      const { size } = acknowledged;
      acknowledged.clear();
      await eventually(() => acknowledged.size === size);
    }
    isOver = true;
    await Promise.all(writers);
    expect(wrong).toEqual([]);
    for (const [key, value] of acknowledged) {
      const stored = Number(await threads[0]?.get(key));
      // What timed out after it may have been done.
      expect([key, stored >= value && stored <= (tried.get(key) ?? 0)]).toEqual([key, true]);
    }
  }, 300_000);
});

describe("the near cache", () => {
  async function withNear(staleIfErrorMs: number) {
    const server = await startServer();
    const clock = { ms: Date.now() };
    const near = new PlainEngine(() => clock.ms);
    const settings = { nearEngine: near, staleIfErrorMs, clock: () => clock.ms };
    const calls = await openEngine(server.url, settings);
    const warm = async (key: string) => {
      await calls.put(key, JSON.stringify(key));
      await eventually(async () => {
        await calls.get(key);
        return (await near.get(keyOf(key), new HeadSink())) === true;
      });
    };
    return { server, clock, calls, warm };
  }

  class StaleSink extends CollectingSink {
    isStale = false;
    markStale(): void {
      this.isStale = true;
    }
  }

  test("answers while Redis is away, marked stale, for as long as it may, and never what was replaced here", async () => {
    const { server, clock, calls, warm } = await withNear(10_000);
    await warm("kept");
    await warm("replaced");
    await calls.put("replaced", "2");
    await server.kill();
    await errorOf(() => calls.get("other"));
    await eventually(() => statusOf(calls) === "unavailable");
    const sink = new StaleSink();
    expect(await calls.engine.get(keyOf("kept"), sink)).toBe(true);
    expect([sink.isStale, sink.bytes.toString()]).toEqual([true, '"kept"']);
    // Nobody gets an old value who can't say that it is one.
    expect(await errorOf(() => calls.get("kept"))).toBeInstanceOf(EngineUnavailableError);
    expect(await errorOf(async () => calls.engine.get(keyOf("replaced"), new StaleSink()))).toBeInstanceOf(
      EngineUnavailableError,
    );
    clock.ms += 10_001;
    expect(await errorOf(async () => calls.engine.get(keyOf("kept"), new StaleSink()))).toBeInstanceOf(
      EngineUnavailableError,
    );
  }, 300_000);

  test("answers nothing where stale values were not asked for", async () => {
    const { server, calls, warm } = await withNear(0);
    await warm("kept");
    await server.kill();
    await errorOf(() => calls.get("other"));
    await eventually(() => statusOf(calls) === "unavailable");
    expect(await errorOf(async () => calls.engine.get(keyOf("kept"), new StaleSink()))).toBeInstanceOf(
      EngineUnavailableError,
    );
  }, 300_000);
});
