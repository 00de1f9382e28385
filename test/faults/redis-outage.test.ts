import { expect } from "bun:test";
import { EngineUnavailableError } from "../../src/engine/engine.ts";
import type { RedisEngineSettings } from "../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../src/engine/redis/redis-url.ts";
import { EngineCalls } from "../support/engine-calls.ts";
import { globPattern } from "../support/glob-pattern.ts";
import { needing } from "../support/needing.ts";
import { PlainEngine } from "../support/plain-engine.ts";
import { freePort, RedisServer } from "../support/redis-server.ts";
import { eventually } from "../support/until.ts";

const { afterEach, describe, test } = needing("redis-server");

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(args: string[] = []) {
  const server = await RedisServer.start(args);
  cleanups.push(() => server.stop());
  return server;
}

async function openEngine(url: string, settings: Partial<RedisEngineSettings> = {}) {
  const engine = await createRedisEngine({ target: parseRedisUrl(url), ...settings });
  cleanups.push(() => engine.close());
  return new EngineCalls(engine);
}

const withFallback = () => ({ fallbackEngine: new PlainEngine(() => Date.now()) });
const statusOf = ({ engine }: EngineCalls) => engine.health().status;

describe("with the fallback in memory", () => {
  test("what is accepted while Redis is away is served, and is in Redis when it is back, though it restarts empty", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, withFallback());
    await calls.put("before", "0");
    const killedMs = Date.now();
    await server.kill();

    for (let i = 0; i < 500; i++) expect(await calls.put(`k${i}`, String(i))).toBe("stored");
    expect(await calls.delete("k7")).toBe("deleted");
    expect(await calls.engine.deleteMatching(globPattern("k49?"), calls.stamp())).toBe(10);
    expect(await calls.put("k495", '"again"')).toBe("stored");
    expect(await calls.increment("n", 5)).toEqual({ kind: "incremented", value: 5 });
    expect(await calls.increment("n", 6)).toEqual({ kind: "incremented", value: 11 });
    expect(await calls.get("k8")).toBe("8");
    expect(await calls.get("k7")).toBeNull();
    const health = calls.engine.health();
    expect(health.status).toBe("degraded");
    // In our words: no option of the client's is of use to whoever reads it.
    expect(health.detail).toMatch(/^Redis is away: (the connection is lost|connect ECONNREFUSED|Connection is closed)/);
    expect(health.sinceMs).toBeGreaterThanOrEqual(killedMs);
    expect(health.sinceMs).toBeLessThanOrEqual(Date.now());

    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    const fresh = await openEngine(server.url);
    for (let i = 0; i < 490; i++) expect(await fresh.get(`k${i}`)).toBe(i === 7 ? null : String(i));
    expect(await fresh.get("k494")).toBeNull();
    expect(await fresh.get("k495")).toBe('"again"');
    expect(await fresh.get("n")).toBe("11");
  }, 20_000);

  test("no write that was accepted while Redis was away is lost, under load", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, withFallback());
    const acceptedAway = new Map<string, string>();
    let isOver = false;
    const writer = async (name: number) => {
      for (let i = 0; !isOver; i++) {
        const key = `w${name}:${i % 50}`;
        const wasAway = statusOf(calls) !== "ok";
        if ((await calls.put(key, String(i))) !== "stored") throw new Error("not stored");
        if (wasAway && statusOf(calls) !== "ok") acceptedAway.set(key, String(i));
        else acceptedAway.delete(key);
        if (i % 20 === 0) await Bun.sleep(0);
      }
    };
    const writers = Array.from({ length: 8 }, (_, name) => writer(name));
    await server.kill();
    await eventually(() => statusOf(calls) === "degraded");
    await eventually(() => acceptedAway.size === 400);
    isOver = true;
    await Promise.all(writers);
    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    const fresh = await openEngine(server.url);
    for (const [key, value] of acceptedAway) expect([key, await fresh.get(key)]).toEqual([key, value]);
  }, 20_000);

  test("calls go on while the journal is replayed, and the newest value stays", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, withFallback());
    await server.kill();
    for (let i = 0; i < 3000; i++) await calls.put(`k${i}`, "0");
    await server.up();
    let round = 1;
    while (statusOf(calls) !== "ok") {
      round++;
      await calls.put("k2999", String(round));
      await calls.put("k0", String(round));
      await Bun.sleep(0);
    }
    const fresh = await openEngine(server.url);
    expect(await fresh.get("k2999")).toBe(String(round));
    expect(await fresh.get("k0")).toBe(String(round));
  }, 20_000);

  test("entries are replayed with what is left of their time, and those that expired delete what they replaced", async () => {
    const server = await startServer(["--appendonly", "yes", "--appendfsync", "always"]);
    const calls = await openEngine(server.url, withFallback());
    await calls.put("short", "0");
    await server.kill();
    await calls.put("short", "1", { expiresAtMs: Date.now() + 30 });
    const expiresAtMs = Date.now() + 60_000;
    await calls.put("long", "1", { expiresAtMs });
    await calls.put("touched", "1");
    await calls.touch("touched", expiresAtMs);
    await Bun.sleep(40);
    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    const fresh = await openEngine(server.url);
    expect(await fresh.get("short")).toBeNull();
    for (const key of ["long", "touched"]) {
      const told = (await fresh.find(key))?.info?.expiresAtMs ?? 0;
      expect(Math.abs(told - expiresAtMs)).toBeLessThan(50);
    }
  }, 20_000);

  test("a full journal refuses instead of forgetting", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, { ...withFallback(), journalLimitBytes: 5000 });
    await server.kill();
    const outcomes: string[] = [];
    for (let i = 0; i < 30; i++) {
      outcomes.push(
        await calls
          .put(`k${i}`, "1")
          .catch((error: unknown) => (error instanceof EngineUnavailableError ? "refused" : "bug")),
      );
    }
    const stored = outcomes.filter((outcome) => outcome === "stored").length;
    expect(stored).toBeGreaterThan(5);
    expect(outcomes.slice(stored)).toEqual(Array(30 - stored).fill("refused"));
    expect(await calls.get(`k${stored}`)).toBeNull();
    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    expect(await calls.put("k29", "1")).toBe("stored");
    expect(await (await openEngine(server.url)).get(`k${stored - 1}`)).toBe("1");
  }, 20_000);

  test("starting while Redis is away works", async () => {
    const port = await freePort();
    const calls = await openEngine(`redis://127.0.0.1:${port}`, { ...withFallback(), connectTimeoutMs: 100 });
    expect(statusOf(calls)).toBe("degraded");
    expect(await calls.put("k", "1")).toBe("stored");
    expect(await calls.get("k")).toBe("1");
  });

  test("nothing of one outage is served in the next", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, withFallback());
    await server.kill();
    await calls.put("k", '"first outage"');
    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    expect(await calls.put("k", '"between"')).toBe("stored");
    await server.kill();
    await eventually(async () => (await calls.get("k")) === null || statusOf(calls) !== "ok");
    expect(await calls.get("k")).toBeNull();
  }, 20_000);

  test("a server that hangs costs each caller at most the timeout, and later ones nothing", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, withFallback());
    await calls.put("k", "1");
    server.freeze();
    const startMs = performance.now();
    expect(await calls.put("k", "2")).toBe("stored");
    const firstMs = performance.now() - startMs;
    expect(firstMs).toBeGreaterThanOrEqual(240);
    expect(firstMs).toBeLessThan(1000);
    const laterStartMs = performance.now();
    for (let i = 0; i < 100; i++) await calls.put(`h${i}`, "1");
    expect(await calls.get("k")).toBe("2");
    expect(performance.now() - laterStartMs).toBeLessThan(200);
    server.thaw();
    await eventually(() => statusOf(calls) === "ok");
    const fresh = await openEngine(server.url);
    expect(await fresh.get("k")).toBe("2");
    expect(await fresh.get("h99")).toBe("1");
  }, 20_000);

  test("a counter whose fate is unknown is not counted twice: the caller is told", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, withFallback());
    await calls.put("n", "10");
    // The server knows the script from now on, so that the frozen one will execute what it was sent.
    expect(await calls.increment("n", 1)).toEqual({ kind: "incremented", value: 11 });
    server.freeze();
    await expect(calls.increment("n", 1)).rejects.toBeInstanceOf(EngineUnavailableError);
    server.thaw();
    await eventually(async () => (await calls.get("n")) === "12");
    expect(statusOf(calls)).toBe("ok");
  }, 20_000);
});

describe("without a fallback", () => {
  test("calls fail at once with ERR_ENGINE_UNAVAILABLE while Redis is away, and work when it is back", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url);
    await server.kill();
    await eventually(() =>
      calls.get("k").then(
        () => false,
        (error: unknown) => error instanceof EngineUnavailableError,
      ),
    );
    await eventually(() => statusOf(calls) === "unavailable");
    const startMs = performance.now();
    for (let i = 0; i < 100; i++) {
      await expect(calls.put("k", "1")).rejects.toMatchObject({ code: "ERR_ENGINE_UNAVAILABLE" });
      await expect(calls.get("k")).rejects.toMatchObject({ code: "ERR_ENGINE_UNAVAILABLE" });
    }
    expect(performance.now() - startMs).toBeLessThan(200);
    await server.up();
    await eventually(() => statusOf(calls) === "ok");
    expect(await calls.put("k", "1")).toBe("stored");
  }, 20_000);

  test("a server that hangs opens the breaker after a few timeouts", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url);
    server.freeze();
    await Promise.all(Array.from({ length: 10 }, () => calls.get("k").catch(() => null)));
    expect(statusOf(calls)).toBe("unavailable");
    const startMs = performance.now();
    await expect(calls.get("k")).rejects.toBeInstanceOf(EngineUnavailableError);
    expect(performance.now() - startMs).toBeLessThan(50);
    server.thaw();
    await eventually(() => statusOf(calls) === "ok");
    expect(await calls.get("k")).toBeNull();
  }, 20_000);
});
