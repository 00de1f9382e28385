import { afterAll, beforeAll, expect } from "bun:test";
import fc from "fast-check";
import type { Engine } from "../../../src/engine/engine.ts";
import { createRedisEngine } from "../../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { needing } from "../../support/needing.ts";
import { PlainEngine } from "../../support/plain-engine.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { type RestAnswer, type RestCall, RestNode } from "../../support/rest-node.ts";

/**
 * The same random calls to two nodes, one in memory, one on Redis: status, headers and body are the same, but for what
 * `comparable` makes equal.
 */

interface Call extends RestCall {
  readonly method: string;
  readonly path: string;
  /** By how many writes the ETag of `if-match` or `if-none-match` is old; they are filled in from what the node answered. */
  readonly condition: null | {
    readonly header: "If-Match" | "If-None-Match";
    readonly tag: "*" | "newest" | "oldest" | "other";
  };
}

const KEYS = ["a", "b/c", "\u00e9", 'q"\\', "n"] as const;
const VALUES = ["1", "null", '"x"', "[1,  2]", '{"a":1.0}', "-0", "9007199254740991", '"\u00e9"', "1e400"] as const;
const RAW = [" 5 ", "\t7\n", "05", "5", "plain", "", "[1", " ".repeat(20), `3${" ".repeat(16)}`] as const;
const TTLS = ['"1h"', '"2h"', "0", '"-5s"', '"x"', "null"] as const;
const TYPES = ["application/json", "application/json; charset=utf-8", "text/plain", "", "text/html"] as const;

const key = fc.constantFrom(...KEYS);
const condition = fc.option(
  fc.record({
    header: fc.constantFrom("If-Match", "If-None-Match"),
    tag: fc.constantFrom("*", "newest", "oldest", "other"),
  }),
  { freq: 2 },
);
const pathOf = (name: string) => `/api/cache/${encodeURIComponent(name)}`;
const ttlMember = fc.option(fc.constantFrom(...TTLS)).map((ttl) => (ttl === null ? "" : `,"ttl":${ttl}`));

const post = fc.tuple(key, fc.constantFrom(...VALUES), ttlMember).map(([name, value, ttl]) => ({
  method: "POST",
  path: "/api/cache",
  body: `{"key":${JSON.stringify(name)},"value":${value}${ttl}}`,
}));
const put = fc.tuple(key, fc.constantFrom(...RAW), fc.constantFrom(...TYPES)).map(([name, body, type]) => ({
  method: "PUT",
  path: pathOf(name),
  body,
  headers: type === "" ? {} : { "Content-Type": type },
}));
const read = fc
  .tuple(fc.constantFrom("GET", "HEAD"), key, fc.constantFrom("", "?raw"))
  .map(([method, name, query]) => ({ method, path: pathOf(name) + query }));
const remove = key.map((name) => ({ method: "DELETE", path: pathOf(name) }));
const patch = fc
  .tuple(
    key,
    fc.oneof(
      fc.constantFrom(...TTLS).map((ttl) => `{"ttl":${ttl}}`),
      fc.constantFrom(1, -1, 0, 9007199254740991, 0.5).map((by) => `{"increment":${by}}`),
    ),
  )
  .map(([name, body]) => ({ method: "PATCH", path: pathOf(name), body }));
const removeMany = fc
  .constantFrom("", "?pattern=*", "?pattern=b*", "?pattern=%5B", "?pattern=%5Ba-n%5D")
  .map((query) => ({ method: "DELETE", path: `/api/cache${query}` }));
const list = fc
  .constantFrom("", "?pattern=b*", "?cursor=x", "?limit=0")
  .map((query) => ({ method: "GET", path: `/api/keys${query}` }));
const operation = fc.oneof(
  fc
    .tuple(key, fc.constantFrom(...VALUES))
    .map(([name, value]) => `{"op":"set","key":${JSON.stringify(name)},"value":${value}}`),
  fc.tuple(fc.constantFrom("get", "delete"), key).map(([op, name]) => `{"op":"${op}","key":${JSON.stringify(name)}}`),
  fc.tuple(key).map(([name]) => `{"op":"increment","key":${JSON.stringify(name)},"increment":2}`),
  fc.tuple(key).map(([name]) => `{"op":"touch","key":${JSON.stringify(name)},"ttl":"1h"}`),
);
const batch = fc.array(operation, { minLength: 1, maxLength: 5 }).map((operations) => ({
  method: "POST",
  path: "/api/batch",
  body: `{"operations":[${operations.join(",")}]}`,
}));
const call: fc.Arbitrary<Call> = fc
  .tuple(fc.oneof(post, post, put, put, read, read, read, remove, patch, patch, removeMany, list, batch), condition)
  .map(([made, when]) => ({ headers: {}, ...made, condition: when }));

/** One node, and the ETags that it has given, by path. */
class Client {
  private readonly etags = new Map<string, string[]>();

  constructor(private readonly node: RestNode) {}

  async send({ condition: when, ...request }: Call): Promise<RestAnswer> {
    const path = request.path.replace("?raw", "");
    const known = this.etags.get(path) ?? [];
    const headers: Record<string, string> = { ...request.headers };
    if (when !== null) headers[when.header] = this.tagFor(when.tag, known);
    const answer = await this.node.call(request.method, request.path, { ...request, headers });
    const etag = answer.headers.get("etag");
    if (etag !== undefined && known.at(-1) !== etag) this.etags.set(path, [...known, etag]);
    return answer;
  }

  /** Which of the ETags of a path this is, in the order in which they came. */
  numberOf(path: string, etag: string): number {
    return (this.etags.get(path.replace("?raw", "")) ?? []).indexOf(etag);
  }

  private tagFor(tag: string, known: readonly string[]): string {
    if (tag === "*") return "*";
    return (tag === "newest" ? known.at(-1) : tag === "oldest" ? known[0] : undefined) ?? '"other"';
  }
}

/** All that may differ between the engines, made equal. */
function comparable({ path }: Call, client: Client, answer: RestAnswer) {
  const headers = new Map(answer.headers);
  headers.delete("date");
  const etag = headers.get("etag");
  // ETags are the node's own: that they change when they must, and only then, is the same.
  if (etag !== undefined) headers.set("etag", `${client.numberOf(path, etag)}${/-\w+/.exec(etag)?.[0] ?? ""}`);
  // Redis' clock goes on: an hour is some seconds less.
  const status = headers.get("cache-status");
  const toMinutes = (_: string, seconds: string) => `ttl=${Math.ceil(Number(seconds) / 600)}`;
  if (status !== undefined) headers.set("cache-status", status.replace(/ttl=(\d+)/, toMinutes));
  let body = answer.text.replace(/"trace_id":"\w+"/, '"trace_id":""');
  // Keys come in the engine's own order.
  if (answer.status === 200 && path.startsWith("/api/keys")) body = JSON.stringify(answer.json().keys.sort());
  headers.delete("content-length");
  return { status: answer.status, headers: Object.fromEntries([...headers].sort()), body };
}

const wallClock = () => Date.now();

needing("redis-server").describe.each([
  ["plain", {}],
  ["with a prefix", { prefix: "p:" }],
  ["with versions", { versioned: true }],
  ["with a near cache", { nearEngine: new PlainEngine(wallClock) }],
] as const)("Redis and memory answer alike, %s", (_, settings) => {
  let server: RedisServer;
  let engine: Engine;
  let memory: RestNode;
  let redis: RestNode;

  beforeAll(async () => {
    server = await RedisServer.start();
    engine = await createRedisEngine({ target: parseRedisUrl(server.url), commandTimeoutMs: 5000, ...settings });
    memory = new RestNode({ startMs: Date.now() });
    redis = new RestNode({ engine, startMs: Date.now() });
  });
  afterAll(async () => {
    memory[Symbol.dispose]();
    redis[Symbol.dispose]();
    await engine.close();
    await server.stop();
  });

  needing("redis-server").test(
    "whatever is asked",
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 60, size: "max" }), async (calls) => {
          for (const node of [memory, redis]) await node.call("DELETE", "/api/cache");
          const clients = [new Client(memory), new Client(redis)] as const;
          for (const one of calls) {
            const [expected, answered] = await Promise.all(clients.map((client) => client.send(one)));
            if (expected === undefined || answered === undefined) throw new Error("a node gave no answer");
            expect(comparable(one, clients[1], answered)).toEqual(comparable(one, clients[0], expected));
          }
          expect([...memory.errors, ...redis.errors]).toEqual([]);
        }),
        { numRuns: 60 },
      );
    },
    60_000,
  );
});
