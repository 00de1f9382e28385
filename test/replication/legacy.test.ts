/** Peers of the original's kind: the plain calls with `replicated=true`, both ways. */
import { afterEach, expect, test } from "bun:test";
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
    await calls.call("DELETE", "/api/cache?pattern=user:*");
    await until("the pattern", () => original.heard.length === 5);
    await calls.call("DELETE", "/api/cache");
    await until("the clear", () => original.heard.length === 6);

    expect(original.heard[0]).toBe('POST /api/cache?replicated=true {"key":"a","value":{"x":1.0}}');
    expect(original.heard[1]).toMatch(
      /^POST \/api\/cache\?replicated=true \{"key":"b\/c","value":null,"ttl":"3[56]\d{5}ms"\}$/,
    );
    expect(original.heard.slice(2)).toEqual([
      "DELETE /api/cache/image?replicated=true",
      "DELETE /api/cache/a?replicated=true",
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
    const dropped = await calls.call("POST", "/api/cache/gossip-invalidate?key=old&replicated=true");
    expect([dropped.status, (await calls.get("old")).status]).toEqual([200, 404]);
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
