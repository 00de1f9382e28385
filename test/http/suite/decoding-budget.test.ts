import { expect, test } from "bun:test";
import zlib from "node:zlib";
import { ByteBudget, InFlight } from "../../../src/runtime/byte-budget.ts";
import { expectError, requestBytes, startTestApi, WAYS_TO_ANSWER } from "../../support/api.ts";
import { RawClient } from "../../support/raw-client.ts";

const MIB = 1024 * 1024;
const VALUE = Buffer.alloc(8 * MIB, 0x61);
const CODINGS: readonly (readonly [string, Buffer])[] = [
  ["gzip", zlib.gzipSync(VALUE)],
  ["deflate", zlib.deflateSync(VALUE)],
  ["br", zlib.brotliCompressSync(VALUE, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })],
  ["zstd", zlib.zstdCompressSync(VALUE)],
];

function put(coding: string, body: Buffer, type = "text/plain") {
  return { body, headers: { "Content-Type": type, "Content-Encoding": coding } };
}

test.each(CODINGS)(
  "what comes out of %s is counted, and is 503 where there is no room for it",
  async (coding, body) => {
    const budget = ByteBudget.create(32 * MIB);
    using api = await startTestApi({ budget });
    expect((await api.call("PUT", "/api/cache/large", put(coding, body))).status).toBe(200);
    expect((await api.call("GET", "/api/cache/large")).bytes.equals(VALUE)).toBe(true);
    expect(budget.usedBytes).toBe(0);
    budget.count(InFlight.Bodies, 20 * MIB);
    const refusal = await api.call("GET", "/api/cache/large");
    expectError(refusal, 503, "ERR_OVERLOADED");
    const json = zlib.gzipSync(Buffer.from(JSON.stringify("a".repeat(8 * MIB))));
    expectError(await api.call("PUT", "/api/cache/json", put("gzip", json, "application/json")), 503, "ERR_OVERLOADED");
    expect(budget.usedBytes).toBe(20 * MIB);
    budget.giveBack(InFlight.Bodies, 20 * MIB);
    expect((await api.call("PUT", "/api/cache/json", put("gzip", json, "application/json"))).status).toBe(200);
    expect([budget.usedBytes, api.bugs]).toEqual([0, []]);
  },
);

test.each(WAYS_TO_ANSWER)(
  "values that wait to be decoded are counted, and bounded, on an engine that answers %s",
  async (_, engine) => {
    const budget = ByteBudget.create(32 * MIB);
    using api = await startTestApi({ budget, engine });
    // Stored as it is: 4 MiB of what zstd can't make smaller.
    const noise = Buffer.alloc(4 * MIB);
    crypto.getRandomValues(noise.subarray(0, 65_536));
    for (let at = 65_536; at < noise.length; at++)
      noise[at] = ((noise[at - 65_536] ?? 0) * 5 + (at >>> 16) * 7 + 1) & 0xff;
    const stored = zlib.gzipSync(noise, { level: 0 });
    expect((await api.call("PUT", "/api/cache/large", put("gzip", stored))).status).toBe(200);
    const clients = await Promise.all(Array.from({ length: 24 }, () => RawClient.open(api.port)));
    let mostBytes = 0;
    await Promise.all(clients.map((client) => client.send(requestBytes("GET", "/api/cache/large"))));
    const answers = await Promise.all(
      clients.map(async (client) => {
        const answer = await client.answer();
        mostBytes = Math.max(mostBytes, budget.usedBytes);
        return answer;
      }),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([]);
    expect(statuses).toContain(200);
    expect(statuses).toContain(503);
    for (const { status, bytes } of answers) if (status === 200) expect(bytes.equals(noise)).toBe(true);
    expect(mostBytes).toBeLessThanOrEqual(32 * MIB);
    for (const { socket } of clients) socket.destroy();
    expect([budget.usedBytes, api.bugs]).toEqual([0, []]);
  },
);

test("what is no coding, or a bomb, gives back what it took", async () => {
  const budget = ByteBudget.create(128 * MIB);
  using api = await startTestApi({ budget });
  const bomb = zlib.gzipSync(Buffer.alloc(17 * MIB));
  const gzip = zlib.gzipSync(VALUE);
  for (const [body, key] of [
    [bomb, "bomb"],
    [gzip.subarray(0, gzip.length - 20), "cut"],
    [Buffer.from("no gzip"), "none"],
    [Buffer.alloc(0), "empty"],
  ] as const) {
    expect((await api.call("PUT", `/api/cache/${key}`, put("gzip", body))).status).toBe(200);
    expectError(await api.call("GET", `/api/cache/${key}`), 406, "ERR_NOT_ACCEPTABLE");
    expectError(
      await api.call("PUT", `/api/cache/${key}`, put("gzip", body, "application/json")),
      400,
      "ERR_BAD_ENCODING",
    );
  }
  expect([budget.usedBytes, api.bugs]).toEqual([0, []]);
});
