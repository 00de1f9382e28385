/** Peers of the original's kind: the plain calls with `replicated=true`, both ways. */
import { afterEach, expect, test } from "bun:test";
import { Glob } from "../../src/model/glob.ts";
import { quietPort } from "../support/free-port.ts";
import { callsOf } from "../support/node-calls.ts";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const TIMEOUT_MS = 300_000;

afterEach(endServed);

/** Knows the plain calls alone, and keeps what it was told. */
function startOriginal() {
  const heard: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      if (!pathname.startsWith("/api/cache")) return new Response("no such path", { status: 404 });
      heard.push(`${request.method} ${pathname}${search} ${await request.text()}`.trim());
      return Response.json({ status: "success" });
    },
  });
  return { heard, url: `http://127.0.0.1:${server.port}`, [Symbol.dispose]: () => void server.stop(true) };
}

test(
  "a peer that knows no native link is told by plain calls",
  async () => {
    using folder = tempFolder();
    using original = startOriginal();
    const node = await serve(["--addr=127.0.0.1:0", `--data-dir=${folder.path}`, `--peers=${original.url}`]);
    const calls = callsOf(node.port);
    await until("it is known", async () => (await calls.json("/api/stats")).peers.links[0].state === "legacy");

    await calls.call("POST", "/api/cache", { body: '{"key":"a","value":{"x":1.0}}' });
    await until("the put", () => original.heard.length === 1);
    await calls.call("POST", "/api/cache", { body: '{"key":"b/c","value":null,"ttl":"1h"}' });
    await until("the put with a TTL", () => original.heard.length === 2);
    await calls.call("PUT", "/api/cache/image", { body: "png", headers: { "content-type": "image/png" } });
    await until("the value that is not JSON", () => original.heard.length === 3);
    await calls.remove("a");
    await until("the delete", () => original.heard.length === 4);
    await calls.remove("b/c");
    await until("the delete of a key with a slash", () => original.heard.length === 5);
    await calls.call("DELETE", "/api/cache?pattern=user:*");
    await until("the pattern", () => original.heard.length === 6);
    await calls.call("DELETE", "/api/cache");
    await until("the clear", () => original.heard.length === 7);

    expect(original.heard[0]).toBe('POST /api/cache?replicated=true {"key":"a","value":{"x":1.0}}');
    expect(original.heard[1]).toMatch(
      /^POST \/api\/cache\?replicated=true \{"key":"b\/c","value":null,"ttl":"3[56]\d{5}ms"\}$/,
    );
    expect(original.heard.slice(2)).toEqual([
      "DELETE /api/cache/image?replicated=true",
      "DELETE /api/cache/a?replicated=true",
      "DELETE /api/cache?pattern=b%2Fc&replicated=true",
      "DELETE /api/cache?pattern=user%3A*&replicated=true",
      "DELETE /api/cache?pattern=*&replicated=true",
    ]);
  },
  TIMEOUT_MS,
);

test(
  "what a peer sends by plain calls stays here, and is not sent back",
  async () => {
    using folder = tempFolder();
    using original = startOriginal();
    const node = await serve(["--addr=127.0.0.1:0", `--data-dir=${folder.path}`, `--peers=${original.url}`]);
    const calls = callsOf(node.port);
    await calls.call("POST", "/api/cache?replicated=true", { body: '{"key":"a","value":1}' });
    await calls.call("POST", "/api/cache/gossip-invalidate?key=a&replicated=true");
    expect((await calls.get("a")).text).toContain('"value":1');
    await calls.call("POST", "/api/cache", { body: '{"key":"old","value":1}' });
    await until("the node's own put", () => original.heard.length > 0);
    const told = await calls.call("POST", "/api/cache/gossip-invalidate?key=old&replicated=true");
    expect([told.status, (await calls.get("old")).status]).toEqual([200, 200]);
    await calls.call("DELETE", "/api/cache/a?replicated=true");
    expect((await calls.get("a")).status).toBe(404);
    await calls.put("mine", 1);
    await until("the node's next put", () => original.heard.length > 1);
    expect(original.heard).toEqual(
      ["old", "mine"].map((key) => `POST /api/cache?replicated=true {"key":"${key}","value":1}`),
    );
  },
  TIMEOUT_MS,
);

/** The original as its clients see it: one segment of the decoded path is the key, a pattern is a glob; what it is told, it gossips. */
function startLoopingOriginal(peers: () => readonly string[]) {
  const entries = new Map<string, string>();
  let gossips = 0;
  const gossip = (key: string) => {
    gossips += 1;
    const path = `/api/cache/gossip-invalidate?key=${encodeURIComponent(key)}&replicated=true`;
    for (const peer of peers()) void fetch(peer + path, { method: "POST" }).catch(() => {});
  };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      const [, api, cache, segment = ""] = decodeURIComponent(pathname).split("/");
      if (api !== "api" || cache !== "cache") return new Response("no such path", { status: 404 });
      const pattern = searchParams.get("pattern");
      if (request.method === "DELETE" && pattern !== null) {
        const glob = Glob.parse(pattern);
        for (const key of entries.keys()) {
          const bytes = Buffer.from(key);
          if (glob.matches(bytes, 0, bytes.length)) entries.delete(key);
        }
      } else if (request.method === "DELETE") entries.delete(segment);
      else if (segment === "gossip-invalidate") {
        if (gossips < 200) gossip(searchParams.get("key") ?? "");
      } else {
        const { key, value } = JSON.parse(await request.text());
        entries.set(key, JSON.stringify(value));
        gossip(key);
      }
      return Response.json({ status: "success" });
    },
  });
  const url = `http://127.0.0.1:${server.port}`;
  return { entries, url, gossips: () => gossips, [Symbol.dispose]: () => void server.stop(true) };
}

test(
  "two peers of the original's kind that gossip in a loop erase nothing here, and lose what is deleted and no more",
  async () => {
    using folder = tempFolder();
    const port = quietPort();
    const node = `http://127.0.0.1:${port}`;
    using first = startLoopingOriginal(() => [node, second.url]);
    using second = startLoopingOriginal(() => [node, first.url]);
    await serve([`--addr=127.0.0.1:${port}`, `--data-dir=${folder.path}`, `--peers=${first.url},${second.url}`]);
    const calls = callsOf(port);
    const keys = ["a", "a/b", "a/b/c", "..", "[x]/*", "x/y", "back\\slash"];
    for (const [at, key] of keys.entries()) await calls.put(key, at);
    const originals = [first, second];
    await until("all is there", () => originals.every(({ entries }) => entries.size === keys.length));
    await until("the loop has turned", () => originals.every(({ gossips }) => gossips() >= 200));
    expect((await calls.values(keys)).size).toBe(keys.length);

    const removed = ["a/b", "..", "[x]/*", "back\\slash"];
    for (const key of removed) await calls.call("POST", "/api/batch", { body: batchOf(key) });
    const kept = ["a", "a/b/c", "x/y"];
    await until("what is deleted is gone", () =>
      originals.every(({ entries }) => removed.every((key) => !entries.has(key))),
    );
    expect(originals.map(({ entries }) => [...entries.keys()].toSorted())).toEqual([kept, kept]);
  },
  TIMEOUT_MS,
);

/** A path can't say every key as a client writes it: `..` is resolved on the way. */
function batchOf(key: string): string {
  return JSON.stringify({ operations: [{ op: "delete", key }] });
}
