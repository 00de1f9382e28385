import { expect, test } from "bun:test";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";
import { ByteBudget, InFlight } from "../../../src/runtime/byte-budget.ts";
import { echo, startTestHttpServer, type TestHttpServer } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";
import { eventually } from "../../support/until.ts";

const GET = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
/** Time limits are never kept early, and at most this late. */
const SLACK_MS = 1_000;

/** Settles when the server has handled what was sent to it before: it reads sockets in the order in which they became readable. */
async function handled(server: TestHttpServer): Promise<void> {
  const client = await RawClient.open(server.port);
  for (let i = 0; i < 2; i++) {
    await client.send(GET);
    await client.answer();
  }
  client.socket.end();
  const before = server.connections;
  await eventually(() => server.connections < before);
}

for (const [name, bytes, limitMs] of [
  ["head", "GET / HTTP/1.1\r\nHo", DEFAULT_HTTP_LIMITS.headTimeoutMs],
  ["sized body", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na", DEFAULT_HTTP_LIMITS.bodyTimeoutMs],
  [
    "chunked body",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na",
    DEFAULT_HTTP_LIMITS.bodyTimeoutMs,
  ],
] as const) {
  test(`a client that stops within a ${name} gets 408, no earlier than at the limit`, async () => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port);
    await client.send(bytes);
    await handled(server);
    server.passTime(limitMs - 1);
    await handled(server);
    expect(server.connections).toBe(1);
    server.passTime(1 + SLACK_MS);
    const answer = await client.answer();
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([408, "ERR_REQUEST_TIMEOUT"]);
    expect(await client.closed).toBeNull();
  });
}

test("a head that trickles in is cut although bytes keep coming", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send("GET / HTTP/1.1\r\n");
  await handled(server);
  for (let ms = 0; ms < DEFAULT_HTTP_LIMITS.headTimeoutMs; ms += 2_000) {
    server.passTime(2_000);
    await client.send("X: y\r\n");
    await handled(server);
  }
  server.passTime(SLACK_MS);
  expect((await client.answer()).status).toBe(408);
});

const { bodyTimeoutMs, minBytesPerSecond, tightTimeoutMs, tightBytesPerSecond } = DEFAULT_HTTP_LIMITS;
const WINDOW_MS = bodyTimeoutMs + SLACK_MS;

test("a body that keeps the lowest pace arrives, however long it takes", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  const part = Buffer.alloc((minBytesPerSecond * WINDOW_MS) / 1000, 0x61);
  const parts = 20;
  await client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${parts * part.length}\r\n\r\n`);
  for (let sent = 0; sent < parts; sent++) {
    await client.send(part);
    await handled(server);
    server.passTime(WINDOW_MS);
  }
  expect((await client.answer()).body.length).toBe("PUT / ".length + parts * part.length);
});

test.each([
  ["sized", "Content-Length: 1000000\r\n\r\n", "a"],
  ["chunked", "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"],
])("a %s body that drips gets 408 after one window, although bytes keep coming", async (_, head, drip) => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send(`PUT / HTTP/1.1\r\nHost: a\r\n${head}`);
  await handled(server);
  for (let ms = 0; ms < WINDOW_MS; ms += 1_000) {
    expect(server.connections).toBe(1);
    await client.send(drip);
    await handled(server);
    server.passTime(1_000);
  }
  expect((await client.answer()).status).toBe(408);
});

test("a body that was quick and then stands still is cut in the next window", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n");
  await client.send(Buffer.alloc(1_000_000));
  await handled(server);
  server.passTime(WINDOW_MS);
  await handled(server);
  expect(server.connections).toBe(1);
  server.passTime(WINDOW_MS);
  expect((await client.answer()).status).toBe(408);
});

test("while bytes in flight are scarce, a body that keeps only the lowest pace is cut, and gives its bytes back", async () => {
  const budget = ByteBudget.create(1024 * 1024);
  using server = startTestHttpServer(echo, {}, { budget });
  const [slow, quick] = [await RawClient.open(server.port), await RawClient.open(server.port)];
  for (const client of [slow, quick]) {
    await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
  }
  await slow.send(Buffer.alloc((minBytesPerSecond * 2 * (tightTimeoutMs + SLACK_MS)) / 1000));
  await quick.send(Buffer.alloc((tightBytesPerSecond * (tightTimeoutMs + SLACK_MS)) / 1000, 0x61));
  await handled(server);
  const othersBytes = budget.limitBytes * 0.75 - budget.usedBytes;
  expect(budget.take(InFlight.Answers, othersBytes)).toBe(true);
  server.passTime(tightTimeoutMs + SLACK_MS);
  expect((await slow.answer()).status).toBe(408);
  budget.giveBack(InFlight.Answers, othersBytes);
  await quick.send(Buffer.alloc(300_000 - (tightBytesPerSecond * (tightTimeoutMs + SLACK_MS)) / 1000, 0x61));
  expect((await quick.answer()).body.length).toBe("PUT / ".length + 300_000);
  slow.socket.destroy();
  await eventually(() => budget.usedBytes === 0);
});

for (const [name, bytes] of [
  ["that has sent nothing", ""],
  ["that had its answer", GET],
] as const) {
  test(`an idle connection ${name} is closed without a word`, async () => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port);
    if (bytes !== "") {
      await client.send(bytes);
      await client.answer();
    }
    await handled(server);
    server.passTime(DEFAULT_HTTP_LIMITS.idleTimeoutMs - 1);
    expect(server.connections).toBe(1);
    server.passTime(1 + SLACK_MS);
    expect(await client.rest()).toBe("");
    expect(await client.closed).toBeNull();
  });
}

test("a client that does not read is cut, holds one answer at most, and delays nobody", async () => {
  const answerBytes = 16 * 1024 * 1024;
  let answers = 0;
  using server = startTestHttpServer((request, response) => {
    if (request.method !== "PUT") return echo(request, response);
    answers++;
    response.sendBytes(200, "", Buffer.alloc(answerBytes), 0, answerBytes);
  });
  const client = await RawClient.open(server.port);
  client.socket.pause();
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
  await handled(server);
  expect(answers).toBe(1);
  server.passTime(DEFAULT_HTTP_LIMITS.writeTimeoutMs - 1);
  await handled(server);
  expect(server.connections).toBe(1);
  // The kernels' buffers may have taken more in the first window.
  for (let windows = 0; windows < 3; windows++) server.passTime(DEFAULT_HTTP_LIMITS.writeTimeoutMs + SLACK_MS);
  await eventually(() => server.connections === 0);
  client.socket.resume();
  await client.closed;
});

test("a client that reads slowly gets all of its answers", async () => {
  const part = Buffer.alloc(3 * 1024 * 1024, 0x61);
  using server = startTestHttpServer((request, response) => {
    if (request.method !== "PUT") return echo(request, response);
    response.sendBytes(200, "", part, 0, part.length);
  });
  const client = await RawClient.open(server.port);
  client.socket.pause();
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
  await handled(server);
  client.socket.resume();
  for (let i = 0; i < 5; i++) expect((await client.answer()).body.length).toBe(part.length);
});

test("a client that stays after its last answer is cut after the linger time", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port, { allowHalfOpen: true });
  await client.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
  await client.answer();
  expect(await client.rest()).toBe("");
  await client.send("more");
  await handled(server);
  expect(server.connections).toBe(1);
  server.passTime(DEFAULT_HTTP_LIMITS.lingerMs + SLACK_MS);
  await eventually(() => server.connections === 0);
  client.socket.destroy();
});

for (const bytes of ["\r\n", "\r", "\r\n\r"]) {
  test(`empty lines, ${JSON.stringify(bytes)} at a time, don't keep an idle connection`, async () => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port);
    await client.send(GET);
    await client.answer();
    const steps = 6;
    for (let step = 0; step < steps; step++) {
      server.passTime(DEFAULT_HTTP_LIMITS.idleTimeoutMs / steps);
      // Half a line is made whole by the next.
      await client.send(bytes.endsWith("\n") || step % 2 === 0 ? bytes : "\n");
      await handled(server);
    }
    server.passTime(SLACK_MS);
    expect(await client.rest()).toBe("");
    expect(await client.closed).toBeNull();
  });
}

test.each([-3_600_000, 3_600_000])(
  "an idle client is let go in time, also where the clock is set by %i ms",
  async (ms) => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port);
    await client.send(GET);
    await client.answer();
    server.passTime(DEFAULT_HTTP_LIMITS.idleTimeoutMs / 2);
    server.setClock(ms);
    await handled(server);
    expect(server.connections).toBe(1);
    server.passTime(DEFAULT_HTTP_LIMITS.idleTimeoutMs / 2 + SLACK_MS);
    await eventually(() => server.connections === 0);
  },
);
