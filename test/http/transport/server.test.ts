import { expect, test } from "bun:test";
import { ListenError } from "../../../src/http/transport/listen-error.ts";
import { startHttpServer } from "../../../src/http/transport/server.ts";
import { systemScheduler } from "../../../src/runtime/scheduler.ts";
import { echo, startTestHttpServer, targetOf } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";
import { eventually } from "../../support/until.ts";

const GET = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

function start(port: number, hostname = "127.0.0.1") {
  return startHttpServer({ hostname, port, handler: echo, clock: systemScheduler, onError: () => {} });
}

test("a port in use stops the start with an error that names the address", () => {
  using server = startTestHttpServer(echo);
  let caught: unknown;
  try {
    start(server.port).stop();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(ListenError);
  expect(caught).toMatchObject({ code: "EADDRINUSE", hostname: "127.0.0.1", port: server.port });
  expect(String(caught)).toContain(`127.0.0.1:${server.port}: the port is in use`);
});

test("an address of another machine stops the start with an error that names it", () => {
  expect(() => start(0, "192.0.2.1")).toThrow(/192\.0\.2\.1:0/);
});

test("two servers share a port where both ask for it", () => {
  const options = {
    hostname: "127.0.0.1",
    reusePort: true,
    handler: echo,
    clock: systemScheduler,
    onError: () => {},
  };
  const first = startHttpServer({ ...options, port: 0 });
  const second = startHttpServer({ ...options, port: first.port });
  expect(second.port).toBe(first.port);
  first.stop();
  second.stop();
});

test("2,000 idle connections disturb nobody", async () => {
  using server = startTestHttpServer(echo);
  const idle: RawClient[] = [];
  // Not all at once: the kernel's queue of connections to accept is shorter.
  while (idle.length < 2_000) {
    idle.push(...(await Promise.all(Array.from({ length: 100 }, () => RawClient.open(server.port)))));
  }
  await eventually(() => server.connections === 2_000);
  const client = await RawClient.open(server.port);
  for (let i = 0; i < 100; i++) {
    await client.send(GET);
    expect((await client.answer()).status).toBe(200);
  }
  await idle[1_999]?.send(GET);
  expect((await idle[1_999]?.answer())?.status).toBe(200);
  for (const each of idle) each.socket.destroy();
  await eventually(() => server.connections === 1);
});

test("connections over the limit get 503 and are closed; others go on, and room that is free again is used", async () => {
  using server = startTestHttpServer(echo, { connections: 2 });
  const [first, second] = [await RawClient.open(server.port), await RawClient.open(server.port)];
  await eventually(() => server.connections === 2);
  const third = await RawClient.open(server.port);
  await third.send(GET);
  const refusal = await third.answer();
  expect([refusal.status, JSON.parse(refusal.body).code]).toEqual([503, "ERR_TOO_MANY_CONNECTIONS"]);
  expect(await third.closed).toBeNull();
  await first.send(GET);
  expect((await first.answer()).status).toBe(200);
  second.socket.destroy();
  await eventually(() => server.connections === 1);
  const fourth = await RawClient.open(server.port);
  await fourth.send(GET);
  expect((await fourth.answer()).status).toBe(200);
});

test("a drain with no connection is over at once, and nothing is accepted after it", async () => {
  using server = startTestHttpServer(echo);
  await server.drain(10_000);
  expect(RawClient.open(server.port)).rejects.toThrow("ECONNREFUSED");
});

test("a drain answers what is in flight and what is under way on idle connections, with Connection: close", async () => {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  using server = startTestHttpServer(async (request, response) => {
    if (targetOf(request) === "/held") {
      waiting++;
      await gate.promise;
    }
    echo(request, response);
  });
  const [busy, idle, silent] = [
    await RawClient.open(server.port),
    await RawClient.open(server.port),
    await RawClient.open(server.port),
  ];
  await busy.send(GET.replace("/a", "/held"));
  await eventually(() => waiting === 1 && server.connections === 3);

  const drained = server.drain(10_000);
  await idle.send(GET);
  const late = await idle.answer();
  expect([late.status, late.headers.get("connection")]).toEqual([200, "close"]);
  expect(await idle.closed).toBeNull();

  await eventually(() => server.connections === 2);
  server.passTime(999);
  expect(server.connections).toBe(2);
  server.passTime(1);
  expect(await silent.closed).toBeNull();
  expect(server.connections).toBe(1);

  gate.resolve();
  const held = await busy.answer();
  expect([held.body, held.headers.get("connection")]).toEqual(["GET /held ", "close"]);
  expect(await busy.closed).toBeNull();
  await drained;
  expect(server.connections).toBe(0);
});

test("a drain cuts what is left after its grace time", async () => {
  let waiting = 0;
  using server = startTestHttpServer(() => {
    waiting++;
    return new Promise(() => {});
  });
  const client = await RawClient.open(server.port);
  await client.send(GET);
  await eventually(() => waiting === 1);
  const drained = server.drain(5_000);
  server.passTime(4_999);
  expect(server.connections).toBe(1);
  server.passTime(1);
  await drained;
  await client.closed;
});

test("stop cuts all connections", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send(GET);
  await client.answer();
  server.stop();
  await client.closed;
  expect(server.connections).toBe(0);
});

test("a drain under load resets no connection before its answer", async () => {
  using server = startTestHttpServer(echo);
  let answers = 0;
  const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.open(server.port)));
  const untilToldToClose = async (client: RawClient): Promise<string | null> => {
    for (;;) {
      await client.send(GET);
      const answer = await client.answer();
      answers++;
      if (answer.headers.get("connection") === "close") return client.closed;
    }
  };
  const ends = clients.map(untilToldToClose);
  await eventually(() => answers > 500);
  await server.drain(10_000);
  expect(await Promise.all(ends)).toEqual(clients.map(() => null));
});
