/** Caches and proxies of others between clients and a node: what they keep, and what they send. */
import { afterEach, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import zlib from "node:zlib";
import { needing } from "../support/needing.ts";
import type { ProgramName } from "../support/programs.ts";
import {
  type FrontServer,
  startHaproxy,
  startHaproxyWith,
  startNginx,
  startNginxWith,
  startVarnish,
} from "../support/proxies.ts";
import { RawClient } from "../support/raw-client.ts";
import { endServed, serve } from "../support/serve.ts";

afterEach(endServed);

const LONG_MS = 300_000;
const CACHES: readonly (readonly [ProgramName, (nodePort: number) => Promise<FrontServer>])[] = [
  ["nginx", startNginx],
  ["varnishd", startVarnish],
];
const TEXT = { "Content-Type": "text/plain" };

function caller(port: number) {
  const call = async (method: string, key: string, init: RequestInit = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/cache/${key}`, { ...init, method });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  return {
    call,
    get: (key: string, headers: Record<string, string> = {}) => call("GET", key, { headers }),
    put: (key: string, body: string | Buffer, headers: Record<string, string> = TEXT) =>
      call("PUT", `${key}?ttl=1h`, { headers, body: new Uint8Array(Buffer.from(body)) }),
    remove: (key: string) => call("DELETE", key),
  };
}

async function startBehind(startProxy: (nodePort: number) => Promise<FrontServer>, flags: readonly string[] = []) {
  const node = await serve(["--addr=127.0.0.1:0", "--workers=1", "--max-memory=512MiB", ...flags]);
  const proxy = await startProxy(node.port);
  return { node: caller(node.port), front: caller(proxy.port), proxy };
}

for (const [program, startProxy] of CACHES) {
  const { test } = needing(program);

  test(
    `${program} gives nothing that was deleted, or written anew, whoever did it`,
    async () => {
      const { node, front, proxy } = await startBehind(startProxy);
      await using _ = proxy;
      for (const writer of [node, front]) {
        expect((await front.get("k")).status).toBe(404);
        for (const value of ["one", "two", "three"]) {
          expect((await writer.put("k", value)).status).toBe(200);
          // Twice: the second could come from the cache.
          for (const _ of [1, 2]) expect((await front.get("k")).text).toBe(value);
          expect((await front.call("HEAD", "k")).headers.get("content-length")).toBe(String(value.length));
        }
        expect((await writer.remove("k")).status).toBe(200);
        for (const _ of [1, 2]) expect((await front.get("k")).status).toBe(404);
      }
    },
    LONG_MS,
  );

  test(
    `${program} keeps what SERV_CACHE_HTTP_MAX_AGE lets it keep, each encoding for itself`,
    async () => {
      const { node, front, proxy } = await startBehind(startProxy, ["--http-max-age=true"]);
      await using _ = proxy;
      await node.put("k", "one");
      expect((await front.get("k")).text).toBe("one");
      await node.remove("k");
      // This is what the option means, and shows that the test above would see it.
      expect((await front.get("k")).text).toBe("one");
      await node.put("zipped", zlib.gzipSync("plain"), { ...TEXT, "Content-Encoding": "gzip" });
      for (const accepted of ["gzip", "identity", "gzip", "identity"]) {
        const { text } = await front.get("zipped", { "Accept-Encoding": accepted });
        expect([accepted, text]).toEqual([accepted, "plain"]);
      }
    },
    LONG_MS,
  );
}

needing("haproxy").test(
  "haproxy sends absolute-form targets on, and they are answered",
  async () => {
    const { node, front, proxy } = await startBehind(startHaproxy);
    await using _ = proxy;
    await node.put("k", "one");
    expect((await front.get("k")).text).toBe("one");
    const client = await RawClient.open(proxy.port);
    const host = `127.0.0.1:${proxy.port}`;
    for (const target of [`http://${host}/api/cache/k`, "/api/cache/k", `http://${host}/api/cache/k?raw`]) {
      await client.send(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      const answer = await client.answer();
      expect([target, answer.status, answer.body]).toEqual([target, 200, "one"]);
    }
    client.socket.destroy();
  },
  LONG_MS,
);

const GUIDE = readFileSync(join(import.meta.dir, "../../docs/guide/configuration.md"), "utf8");

/** The guide's configuration for a proxy, for a node on this port. */
function fromGuide(language: string, nodePort: number): string {
  const block = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "m").exec(GUIDE)?.[1];
  if (block?.includes(":8088") !== true) throw new Error(`the guide has no ${language} for a node on port 8088`);
  return block.replaceAll(":8088", `:${nodePort}`);
}

const PROXIES: readonly (readonly [ProgramName, string, (lines: string) => Promise<FrontServer>, RegExp])[] = [
  ["nginx", "nginx", startNginxWith, /proxy_set_header Host .*|proxy_set_header Origin .*/g],
  ["haproxy", "haproxy", startHaproxyWith, /http-request .*/g],
];

for (const [program, language, startProxy, guards] of PROXIES) {
  needing(program).test(
    `a node on loopback is reached through ${program} as the guide says, and other sites stay out`,
    async () => {
      const node = await serve(["--addr=127.0.0.1:0", "--workers=1", "--max-memory=512MiB"]);
      await using proxy = await startProxy(fromGuide(language, node.port));
      const own = "Host: cache.example\r\nOrigin: https://cache.example\r\n";
      for (const [head, status] of [
        ["Host: cache.example\r\n", 200],
        [`${own}Sec-Fetch-Site: same-origin\r\n`, 200],
        [`${own}Sec-Fetch-Site: cross-site\r\n`, 403],
        [`${own}Sec-Fetch-Site: same-site\r\n`, 403],
      ] as const) {
        const client = await RawClient.open(proxy.port);
        await client.send(`GET /healthz HTTP/1.1\r\n${head}Connection: close\r\n\r\n`);
        expect([head, (await client.answer()).status]).toEqual([head, status]);
        client.socket.destroy();
      }
      // Each of the guide's lines is needed.
      for (const guard of fromGuide(language, node.port).match(guards) ?? []) {
        const without = guard.includes("Host") && program === "nginx" ? "proxy_set_header Host $host;" : "";
        await using open = await startProxy(fromGuide(language, node.port).replace(guard, without));
        const client = await RawClient.open(open.port);
        await client.send(`GET /healthz HTTP/1.1\r\n${own}Sec-Fetch-Site: same-origin\r\n\r\n`);
        expect([guard, (await client.answer()).status]).toEqual([guard, 403]);
        client.socket.destroy();
      }
    },
    LONG_MS,
  );
}
