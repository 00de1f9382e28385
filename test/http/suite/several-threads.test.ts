import { afterEach, expect, test } from "bun:test";
import { type RawAnswer, RawClient } from "../../support/raw-client.ts";
import { endServed, serve } from "../../support/serve.ts";

afterEach(endServed);

/** Enough for the kernel to give some of them to each thread. */
const CONNECTIONS = 20;

interface Connection {
  call(method: string, path: string, body?: string): Promise<RawAnswer>;
}

/** A node of two HTTP threads, and connections to it that stay open. */
async function connectToTwoThreads(): Promise<Connection[]> {
  const { port } = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB"], { SERV_CACHE_WORKERS: "2" });
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => RawClient.open(port)));
  return clients.map((client) => ({
    call: async (method, path, body = "") => {
      await client.send(
        `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      return client.answer();
    },
  }));
}

async function callAll(connections: readonly Connection[], method: string, path: string): Promise<string[]> {
  const answers = await Promise.all(connections.map((connection) => connection.call(method, path)));
  return [...new Set(answers.map(({ status, body }) => (status === 200 ? body : String(status))))];
}

test("what one connection has written or deleted, every other sees at once", async () => {
  const connections = await connectToTwoThreads();
  for (const [number, writer] of connections.entries()) {
    await writer.call("POST", "/api/cache", `{"key":"key","value":${number}}`);
    expect(await callAll(connections, "GET", "/api/cache/key")).toEqual([`{"key":"key","value":${number}}`]);
    await writer.call("DELETE", number % 2 === 0 ? "/api/cache/key" : "/api/cache?pattern=k*");
    expect(await callAll(connections, "GET", "/api/cache/key")).toEqual(["404"]);
  }
});

test("increments of many connections at once add up, and each answers another value", async () => {
  const connections = await connectToTwoThreads();
  const values = await Promise.all(
    connections.map(async (connection) => {
      const seen: number[] = [];
      for (let round = 0; round < 50; round++) {
        const { body } = await connection.call("PATCH", "/api/cache/counter", '{"increment":1}');
        seen.push(JSON.parse(body).value);
      }
      return seen;
    }),
  );
  const total = CONNECTIONS * 50;
  expect(values.flat().sort((one, other) => one - other)).toEqual(Array.from({ length: total }, (_, at) => at + 1));
  expect(await callAll(connections, "GET", "/api/cache/counter?raw")).toEqual([String(total)]);
});

test("of many connections that want the same lock, one gets it", async () => {
  const { port } = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB"], { SERV_CACHE_WORKERS: "2" });
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => RawClient.open(port)));
  for (let round = 0; round < 20; round++) {
    const head = `PUT /api/cache/lock:${round} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\nContent-Length: 1\r\n\r\n1`;
    await Promise.all(clients.map((client) => client.send(head)));
    const statuses = (await Promise.all(clients.map((client) => client.answer()))).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, ...Array.from({ length: CONNECTIONS - 1 }, () => 412)]);
  }
});

test("statistics are those of the node, whichever thread is asked", async () => {
  const connections = await connectToTwoThreads();
  await Promise.all(
    connections.map(async (connection, number) => {
      await connection.call("POST", "/api/cache", `{"key":"key:${number}","value":1}`);
      await connection.call("GET", `/api/cache/key:${number}`);
      await connection.call("GET", "/api/cache/absent");
      if (number % 2 === 0) await connection.call("DELETE", `/api/cache/key:${number}`);
    }),
  );
  const counts = { entries: 10, hits: 20, misses: 20, sets: 20, deletes: 10, evictions: 0, expirations: 0 };
  const answers = await Promise.all(connections.map((connection) => connection.call("GET", "/api/stats")));
  for (const { body } of answers) expect(JSON.parse(body)).toMatchObject(counts);
  const metrics = await Promise.all(connections.map((connection) => connection.call("GET", "/metrics")));
  for (const { body } of metrics) {
    expect(body).toContain("servcache_sets_total 20\n");
    expect(body).toContain('http_server_request_duration_seconds_count{operation="get",result="miss"} 20\n');
    expect(body).toContain('servcache_namespace_reads_total{namespace="key",result="hit"} 20\n');
  }
});

test("a list of keys begun on one thread goes on on any other", async () => {
  const connections = await connectToTwoThreads();
  const keys = Array.from({ length: 400 }, (_, number) => `key:${number}`);
  const operations = keys.map((key) => ({ op: "set", key, value: 1 }));
  await connections[0]?.call("POST", "/api/batch", JSON.stringify({ operations }));
  const found: string[] = [];
  let cursor: string | null = "";
  for (let turn = 0; cursor !== null; turn++) {
    const answer = await connections[turn % CONNECTIONS]?.call("GET", `/api/keys?limit=10&cursor=${cursor}`);
    const page: { keys: string[]; cursor: string | null } = JSON.parse(answer?.body ?? "");
    found.push(...page.keys);
    cursor = page.cursor;
  }
  expect(found.sort()).toEqual([...keys].sort());
});
