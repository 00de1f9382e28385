import { expect } from "bun:test";
import { Redis } from "ioredis";
import { EngineFullError, EngineRefusedError, EngineUnavailableError } from "../../src/engine/engine.ts";
import type { RedisEngineSettings } from "../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../src/engine/redis/redis-url.ts";
import { JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import { Certificates } from "../support/certificates.ts";
import { EngineCalls } from "../support/engine-calls.ts";
import { globPattern } from "../support/glob-pattern.ts";
import { withLateGets } from "../support/late-gets.ts";
import { needing } from "../support/needing.ts";
import { PlainEngine } from "../support/plain-engine.ts";
import { RedisServer } from "../support/redis-server.ts";

const { afterAll, afterEach, beforeAll, describe, test } = needing("redis-server", "openssl");

const cleanups: (() => Promise<unknown>)[] = [];
let certificates: Certificates;

beforeAll(() => {
  certificates = new Certificates();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(() => certificates.remove());

async function startServer(args: string[] = []) {
  const server = await RedisServer.start(args);
  cleanups.push(() => server.stop());
  return server;
}

async function openEngine(url: string, settings: Partial<RedisEngineSettings> = {}) {
  const engine = await createRedisEngine({ target: parseRedisUrl(url), connectTimeoutMs: 300, ...settings });
  cleanups.push(() => engine.close());
  return new EngineCalls(engine);
}

function otherProgram(server: RedisServer): Redis {
  const client = new Redis({ port: server.port });
  cleanups.push(() => client.quit());
  return client;
}

describe("other programs", () => {
  test("read with GET what is stored, and what they SET is served", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, { prefix: "app:" });
    const other = otherProgram(server);
    await calls.put("k", '{"a": 1.0}', { expiresAtMs: Date.now() + 60_000 });
    // White space behind the value tells its writes apart.
    expect((await other.get("app:k"))?.trimEnd()).toBe('{"a": 1.0}');
    expect(await other.pttl("app:k")).toBeGreaterThan(59_000);
    await other.set("app:json", '[1, "ä"]', "PX", 5000);
    await other.set("app:text", 'say "hi" 🙂');
    await other.set("app:bytes", Buffer.from([0xff, 0xfe, 0]));
    await other.set("app:empty", "");
    expect(await calls.get("json")).toBe('[1, "ä"]');
    expect(await calls.get("text")).toBe('"say \\"hi\\" 🙂"');
    expect(await calls.get("empty")).toBe('""');
    expect((await calls.find("text"))?.info?.attributes.contentType).toBe(JSON_CONTENT_TYPE);
    expect((await calls.find("bytes"))?.info?.attributes.contentType).toBe("application/octet-stream");
    expect((await calls.find("bytes"))?.bytes).toEqual(Buffer.from([0xff, 0xfe, 0]));
  });

  test("keep their values of other types, and their keys outside the prefix", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, { prefix: "app:" });
    const other = otherProgram(server);
    await other.hset("app:hash", "field", "1");
    await other.set("else:k", "1");
    await other.set(Buffer.from("app:\xff", "latin1"), "1");
    await calls.put("k", "1");
    expect(await calls.engine.scan({ pattern: null, cursor: null, limit: 100 })).toEqual({ keys: ["k"], cursor: null });
    await other.unlink(Buffer.from("app:\xff", "latin1"));
    await expect(calls.get("hash")).rejects.toThrow(
      "another program stores a value that is not a string under this key",
    );
    expect(await calls.engine.deleteMatching(globPattern("*"), calls.stamp())).toBe(1);
    await calls.put("k", "1");
    expect(await calls.engine.clear(calls.stamp())).toBe(1);
    expect((await other.keys("*")).sort()).toEqual(["app:hash", "else:k"]);
  });

  test("a versioned engine serves and replaces what they SET, and touches it without changing what it is", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url, { versioned: true });
    const other = otherProgram(server);
    await other.set("k", "plain words");
    expect(await calls.touch("k", Date.now() + 60_000)).toBe("touched");
    expect(await calls.get("k")).toBe('"plain words"');
    expect(await calls.put("k", "2")).toBe("stored");
    expect(await calls.get("k")).toBe("2");
  });
});

describe("a server that", () => {
  test("is full refuses writes with ERR_ENGINE_FULL, and still reads", async () => {
    const server = await startServer(["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    const calls = await openEngine(server.url);
    await calls.put("small", "1");
    const value = JSON.stringify("v".repeat(100_000));
    const fill = async () => {
      for (let i = 0; i < 100; i++) await calls.put(`k${i}`, value);
    };
    await expect(fill()).rejects.toBeInstanceOf(EngineFullError);
    await expect(calls.put("k", value)).rejects.toMatchObject({ code: "ERR_ENGINE_FULL" });
    const count = async () => {
      for (let i = 0; i < 20_000; i++) await calls.increment(`n${i}`, 1);
    };
    await expect(count()).rejects.toMatchObject({ code: "ERR_ENGINE_FULL" });
    expect(await calls.get("small")).toBe("1");
    expect(await calls.delete("small")).toBe("deleted");
    expect(calls.engine.health().status).toBe("ok");
  });

  test("forbids a write refuses it alone with ERR_ENGINE_FORBIDDEN, by commands and by scripts", async () => {
    const rules = ["on", ">pw", "~open:*", "&*", "+@all"];
    const server = await startServer(["--user", "app", ...rules]);
    const url = `redis://app:pw@127.0.0.1:${server.port}`;
    const lines: string[] = [];
    for (const versioned of [false, true]) {
      const calls = await openEngine(url, { versioned, prefix: "open:", log: (line) => lines.push(line) });
      const shut = await openEngine(url, { versioned, prefix: "shut:", log: (line) => lines.push(line) });
      for (const call of [
        () => shut.put("k", "1"),
        () => shut.get("k"),
        () => shut.delete("k"),
        () => shut.touch("k", 1),
        () => shut.increment("k", 1),
      ]) {
        const error = await call().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(EngineRefusedError);
        expect(error).toMatchObject({ code: "ERR_ENGINE_FORBIDDEN", message: expect.stringContaining("REDIS_URL") });
      }
      expect(await calls.put("k", "1")).toBe("stored");
      expect(await calls.get("k")).toBe("1");
      expect(shut.engine.health().status).toBe("ok");
    }
    expect(lines).toEqual([]);
  });

  test("cannot save refuses writes alone with ERR_ENGINE_UNAVAILABLE, and is not away", async () => {
    const server = await startServer(["--min-replicas-to-write", "1"]);
    const calls = await openEngine(server.url);
    for (let i = 0; i < 20; i++) {
      await expect(calls.put("k", "1")).rejects.toMatchObject({ code: "ERR_ENGINE_UNAVAILABLE" });
      expect(await calls.get("k")).toBeNull();
    }
    expect(calls.engine.health().status).toBe("ok");
  });

  test("holds a huge value of another program refuses to read it, and it holds up nobody else", async () => {
    const server = await startServer();
    for (const nearEngine of [null, new PlainEngine(() => Date.now())]) {
      const calls = await openEngine(server.url, { nearEngine });
      const other = otherProgram(server);
      await other.set("huge", Buffer.alloc(64 * 1024 * 1024, "x"));
      await other.set("large", JSON.stringify("y".repeat(10 * 1024 * 1024)));
      await calls.put("small", "1");
      const late = withLateGets(calls.engine);
      for (const engine of [calls.engine, late]) {
        const reads = new EngineCalls(engine);
        const [huge, large, ...small] = await Promise.all([
          reads.get("huge").catch((error: unknown) => error),
          reads.get("large"),
          ...Array.from({ length: 20 }, () => reads.get("small")),
        ]);
        expect(huge).toMatchObject({ code: "ERR_TOO_LARGE", message: expect.stringContaining("67108864 bytes") });
        expect(large?.length).toBe(10 * 1024 * 1024 + 2);
        expect(small).toEqual(Array(20).fill("1"));
      }
      expect(calls.engine.health().status).toBe("ok");
      const bytesSent = Number(/total_net_output_bytes:(\d+)/.exec(await other.info("stats"))?.[1]);
      expect(bytesSent).toBeLessThan(60 * 1024 * 1024);
    }
  }, 300_000);

  test("forgets its scripts gets them again", async () => {
    const server = await startServer();
    const calls = await openEngine(server.url);
    const other = otherProgram(server);
    expect(await calls.increment("n", 1)).toEqual({ kind: "incremented", value: 1 });
    await other.script("FLUSH");
    expect(await calls.increment("n", 1)).toEqual({ kind: "incremented", value: 2 });
    await other.script("FLUSH");
    const sums = await Promise.all(Array.from({ length: 50 }, () => calls.increment("n", 1)));
    expect(sums.map((sum) => (sum.kind === "incremented" ? sum.value : -1)).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 3),
    );
  });

  test("wants a password gets it; another one is refused with the reason, which never shows it", async () => {
    const server = await startServer(["--requirepass", "s3c:r@t/"]);
    const at = `127.0.0.1:${server.port}`;
    const calls = await openEngine(`redis://:${encodeURIComponent("s3c:r@t/")}@${at}/3`);
    expect(await calls.put("k", "1")).toBe("stored");
    expect(await calls.get("k")).toBe("1");
    const other = new Redis({ port: server.port, password: "s3c:r@t/", db: 3 });
    expect((await other.get("k"))?.trimEnd()).toBe("1");
    await other.quit();
    const wrong = await openEngine(`redis://:wrong-secret@${at}`);
    await expect(wrong.get("k")).rejects.toBeInstanceOf(EngineUnavailableError);
    expect(wrong.engine.health().status).toBe("unavailable");
    expect(wrong.engine.health().detail).toMatch(/WRONGPASS|invalid username-password/);
    expect(wrong.engine.health().detail).not.toContain("wrong-secret");
  });

  test("knows users lets in the one of the URL", async () => {
    const server = await startServer(["--user", "app", "on", ">pw", "~*", "&*", "+@all", "--user", "default", "off"]);
    const calls = await openEngine(`redis://app:pw@127.0.0.1:${server.port}`);
    expect(await calls.put("k", "1")).toBe("stored");
  });
});

describe("TLS", () => {
  const tlsArgs = () => [
    "--port",
    "0",
    "--tls-port",
    "{port}",
    "--tls-cert-file",
    certificates.path("node.crt"),
    "--tls-key-file",
    certificates.path("node.key"),
    "--tls-ca-cert-file",
    certificates.path("ca.crt"),
    "--requirepass",
    "pw",
  ];
  const tls = () => ({
    ca: certificates.text("ca.crt"),
    cert: certificates.text("node.crt"),
    key: certificates.text("node.key"),
    serverName: null,
    verify: true,
  });

  test("with CA and client certificate works, with the near cache as well", async () => {
    const server = await startServer(tlsArgs());
    const url = `rediss://:pw@127.0.0.1:${server.port}`;
    const calls = await openEngine(url, { tls: tls(), nearEngine: new PlainEngine(() => Date.now()) });
    expect(await calls.put("k", "1")).toBe("stored");
    expect(await calls.get("k")).toBe("1");
  });

  test.each([
    ["without the CA", { ca: null }],
    ["without the client certificate", { cert: null, key: null }],
  ])("%s is unavailable with a reason", async (_, missing) => {
    const server = await startServer(tlsArgs());
    const calls = await openEngine(`rediss://:pw@127.0.0.1:${server.port}`, { tls: { ...tls(), ...missing } });
    await expect(calls.get("k")).rejects.toBeInstanceOf(EngineUnavailableError);
    expect(calls.engine.health().detail.length).toBeGreaterThan("Redis is away: ".length);
  });

  test("with a plain connection to a TLS port is unavailable", async () => {
    const server = await startServer(tlsArgs());
    const calls = await openEngine(`redis://:pw@127.0.0.1:${server.port}`);
    await expect(calls.get("k")).rejects.toBeInstanceOf(EngineUnavailableError);
  });
});
