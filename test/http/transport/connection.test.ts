import { expect, test } from "bun:test";
import type { HttpHandler } from "../../../src/http/transport/handler.ts";
import { ByteBudget } from "../../../src/runtime/byte-budget.ts";
import { bodyOf, echo, startTestHttpServer, TEST_TRACE_ID, targetOf } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";
import { eventually } from "../../support/until.ts";

const GET = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const MIB = 1024 * 1024;

function get(target: string, headers = ""): string {
  return `GET ${target} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
}

/** A handler that answers each request when the test says so. */
function heldHandler(): { handler: HttpHandler; waiting: string[]; answerNext: () => void } {
  const waiting: string[] = [];
  const release: (() => void)[] = [];
  return {
    waiting,
    answerNext: () => release.shift()?.(),
    async handler(request, response) {
      waiting.push(targetOf(request));
      await new Promise<void>((resolve) => release.push(resolve));
      response.sendText(200, "", `${targetOf(request)} ${request.header("x-mark")} ${bodyOf(request)}`);
    },
  };
}

test("an answer has status, Date, Content-Length, the handler's headers, and nothing about the connection", async () => {
  using server = startTestHttpServer((_request, response) => response.sendText(201, 'ETag: "1"\r\n', "gr\u00fc\u00df"));
  const client = await RawClient.open(server.port);
  await client.send(GET);
  const answer = await client.answer();
  expect(answer.status).toBe(201);
  expect(answer.body).toBe("gr\u00fc\u00df");
  expect([...answer.headers]).toEqual([
    ["date", "Thu, 01 Jan 2026 00:00:00 GMT"],
    ["content-length", "6"],
    ["etag", '"1"'],
  ]);
});

test("Date follows the clock", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  server.passTime(5_000);
  await client.send(GET);
  expect((await client.answer()).headers.get("date")).toBe("Thu, 01 Jan 2026 00:00:05 GMT");
});

test("headers are found in any case, repeated ones are joined, absent ones are null", async () => {
  using server = startTestHttpServer((request, response) => {
    response.sendText(200, "", JSON.stringify([request.header("x-a"), request.header("x-b"), request.header("x-c")]));
  });
  const client = await RawClient.open(server.port);
  await client.send(get("/", "X-a: 1 2\t \r\nx-A:3\r\nX-B:\r\nX-CC: 4\r\n"));
  expect((await client.answer()).body).toBe('["1 2, 3","",null]');
});

test("pipelined requests in one packet are answered in order", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  const count = 4_000;
  await client.send(Array.from({ length: count }, (_, i) => get(`/${i}`)).join(""));
  for (let i = 0; i < count; i++) expect((await client.answer()).body).toBe(`GET /${i} `);
});

test("a body begun again replaces what was begun before", async () => {
  using server = startTestHttpServer((_request, response) => {
    response.beginBody(200, "X: 1\r\n", 100_000);
    response.buffer.fill(0x61, response.position, response.position + 100_000);
    response.beginBody(404, "", 2);
    response.position += response.buffer.write("no", response.position);
    response.endBody();
  });
  const client = await RawClient.open(server.port);
  await client.send(GET + GET);
  for (let i = 0; i < 2; i++) {
    const answer = await client.answer();
    expect([answer.status, answer.body, answer.headers.get("x")]).toEqual([404, "no", undefined]);
  }
});

test("HEAD, 204 and 304 are answered without a body", async () => {
  using server = startTestHttpServer((request, response) => {
    const status = Number(targetOf(request).slice(1));
    response.sendText(status, "", status === 200 ? "four" : "");
  });
  const client = await RawClient.open(server.port);
  await client.send(get("/200").replace("GET", "HEAD"));
  expect((await client.answer({ toHead: true })).headers.get("content-length")).toBe("4");
  await client.send(get("/204") + get("/304") + get("/200"));
  expect((await client.answer()).headers.has("content-length")).toBe(false);
  expect((await client.answer()).headers.has("content-length")).toBe(false);
  expect((await client.answer()).body).toBe("four");
});

test("sendHead gives the length that it is told, and 0 where there has to be one", async () => {
  using server = startTestHttpServer((request, response) => {
    response.sendHead(200, "", request.method === "HEAD" ? Number(targetOf(request).slice(1)) : -1);
  });
  const client = await RawClient.open(server.port);
  await client.send(get("/123").replace("GET", "HEAD"));
  expect((await client.answer({ toHead: true })).headers.get("content-length")).toBe("123");
  await client.send(get("/-1").replace("GET", "HEAD"));
  expect((await client.answer({ toHead: true })).headers.has("content-length")).toBe(false);
  await client.send(GET);
  expect((await client.answer()).headers.get("content-length")).toBe("0");
});

test("bodies of 16 MiB go both ways, sized and chunked", async () => {
  using server = startTestHttpServer((request, response) => {
    response.sendBytes(200, "", request.body, request.bodyStart, request.bodyEnd);
  });
  const body = Buffer.alloc(16 * MIB);
  for (let i = 0; i < body.length; i++) body[i] = 0x20 + ((i * 7 + (i >> 12)) % 90);
  const client = await RawClient.open(server.port);
  client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
  client.send(body);
  expect((await client.answer()).body === body.toString("latin1")).toBe(true);
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (let at = 0; at < body.length; at += MIB) {
    client.send(`${MIB.toString(16)}\r\n`);
    client.send(body.subarray(at, at + MIB));
    client.send("\r\n");
  }
  client.send("0\r\n\r\n");
  expect((await client.answer()).body === body.toString("latin1")).toBe(true);
});

test("a client that sends the whole of a too large body can read its 413", async () => {
  using server = startTestHttpServer(echo, { bodyBytes: MIB });
  const client = await RawClient.open(server.port, { allowHalfOpen: true });
  client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${8 * MIB}\r\n\r\n`);
  client.send(Buffer.alloc(8 * MIB));
  expect((await client.answer()).status).toBe(413);
  client.socket.end();
  expect(await client.closed).toBeNull();
});

test("bodies that together exceed the server's budget are refused with 503, and the budget is given back", async () => {
  using server = startTestHttpServer(echo, {}, { budget: ByteBudget.create(64 * 1024) });
  const head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
  const first = await RawClient.open(server.port);
  await first.send(head);
  await first.send(Buffer.alloc(50_000, 0x61));
  const other = await RawClient.open(server.port);
  await other.send(get("/marks-that-the-first-has-arrived"));
  await other.answer();
  const second = await RawClient.open(server.port);
  await second.send(head);
  await second.send(Buffer.alloc(50_000, 0x62));
  const refusal = await second.answer();
  expect([refusal.status, JSON.parse(refusal.body).code]).toEqual([503, "ERR_OVERLOADED"]);
  expect(refusal.headers.get("retry-after")).toBe("1");
  await first.send(Buffer.alloc(10_000, 0x61));
  expect((await first.answer()).body.length).toBe(60_000 + "PUT / ".length);
  await other.send(head);
  await other.send(Buffer.alloc(60_000, 0x63));
  expect((await other.answer()).status).toBe(200);
});

test("Expect: 100-continue is answered before the body is sent, after the answers to what came before", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send(`${GET}PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n`);
  expect((await client.answer()).body).toBe("GET /a ");
  expect((await client.answer()).status).toBe(100);
  await client.send("xy");
  expect((await client.answer()).body).toBe("PUT /b xy");
});

test("Expect: 100-continue is passed over where the body is there already, or the client speaks HTTP/1.0", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nxy");
  expect((await client.answer()).status).toBe(200);
  await client.send("PUT / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  await client.send("xy");
  expect((await client.answer()).status).toBe(200);
});

test("a body that is too large gets 413 in place of 100 Continue", async () => {
  using server = startTestHttpServer(echo, { bodyBytes: 10 });
  const client = await RawClient.open(server.port);
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  expect((await client.answer()).status).toBe(413);
});

const CLOSING: readonly (readonly [string, string])[] = [
  ["HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"],
  ["HTTP/1.0 with keep-alive and close", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"],
  ["Connection: close", get("/", "Connection: close\r\n")],
  ["Connection: CLOSE in a list", get("/", "Connection: te , CLOSE\r\n")],
];
for (const [name, bytes] of CLOSING) {
  test(`${name}: the connection is closed after the answer, and what follows is not handled`, async () => {
    let calls = 0;
    using server = startTestHttpServer((request, response) => {
      calls++;
      return echo(request, response);
    });
    const client = await RawClient.open(server.port);
    await client.send(bytes + GET);
    expect((await client.answer()).headers.get("connection")).toBe("close");
    expect(await client.rest()).toBe("");
    expect(await client.closed).toBeNull();
    expect(calls).toBe(1);
  });
}

test("HTTP/1.0 with keep-alive keeps the connection, and says so", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port);
  await client.send("GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
  expect((await client.answer()).headers.get("connection")).toBe("keep-alive");
  await client.send("GET /2 HTTP/1.0\r\n\r\n");
  expect((await client.answer()).body).toBe("GET /2 ");
});

test("a half-closed client gets its answers, then the connection is closed", async () => {
  using server = startTestHttpServer(echo);
  const client = await RawClient.open(server.port, { allowHalfOpen: true });
  client.socket.end(get("/1") + get("/2"));
  expect((await client.answer()).body).toBe("GET /1 ");
  expect((await client.answer()).body).toBe("GET /2 ");
  expect(await client.rest()).toBe("");
  expect(await client.closed).toBeNull();
});

test("a half-closed client gets an answer that comes later, and a large one whole", async () => {
  const held = heldHandler();
  using server = startTestHttpServer((request, response) => {
    if (targetOf(request) === "/later") return held.handler(request, response);
    response.sendBytes(200, "", Buffer.alloc(16 * MIB, 0x61), 0, 16 * MIB);
  });
  const client = await RawClient.open(server.port, { allowHalfOpen: true });
  client.socket.end(get("/later") + get("/large"));
  await eventually(() => held.waiting.length === 1);
  held.answerNext();
  expect((await client.answer()).body).toBe("/later null ");
  expect((await client.answer()).body.length).toBe(16 * MIB);
  expect(await client.closed).toBeNull();
});

for (const [name, bytes] of [
  ["head", "GET / HTT"],
  ["body", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc"],
] as const) {
  test(`a client that closes its side within a ${name} gets 400`, async () => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port, { allowHalfOpen: true });
    client.socket.end(bytes);
    expect((await client.answer()).status).toBe(400);
    expect(await client.closed).toBeNull();
  });
}

test("a handler that throws gives 500 with the trace id of the request, and the connection stays usable", async () => {
  using server = startTestHttpServer((request, response) => {
    if (targetOf(request) !== "/bad") return echo(request, response);
    response.beginBody(200, "", 10);
    throw new Error("bad");
  });
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const client = await RawClient.open(server.port);
  await client.send(get("/bad", `traceparent: 00-${traceId}-00f067aa0ba902b7-01\r\n`) + get("/bad") + GET);
  const [first, second, third] = [await client.answer(), await client.answer(), await client.answer()];
  expect([first.status, JSON.parse(first.body).code, JSON.parse(first.body).trace_id]).toEqual([
    500,
    "ERR_INTERNAL",
    traceId,
  ]);
  expect(JSON.parse(second.body).trace_id).toBe(TEST_TRACE_ID);
  expect(third.body).toBe("GET /a ");
  expect(server.errors.map((entry) => entry.traceId)).toEqual([traceId, TEST_TRACE_ID]);
});

const FAULTY: readonly (readonly [string, HttpHandler])[] = [
  ["gives no answer", () => {}],
  ["does not end its body", (_request, response) => response.beginBody(200, "", 0)],
  ["ends a body that isn't begun", (_request, response) => response.endBody()],
  [
    "writes less than it said",
    (_request, response) => {
      response.beginBody(200, "", 3);
      response.endBody();
    },
  ],
  ["rejects", () => Promise.reject(new Error("bad"))],
  [
    "rejects after it has begun",
    async (_request, response) => {
      response.beginBody(200, "", 3);
      await Promise.resolve();
      throw new Error("bad");
    },
  ],
  ["settles without an answer", () => Promise.resolve()],
];
for (const [name, handler] of FAULTY) {
  test(`a handler that ${name} gives 500, and the connection stays usable`, async () => {
    using server = startTestHttpServer((request, response) =>
      targetOf(request) === "/bad" ? handler(request, response) : echo(request, response),
    );
    const client = await RawClient.open(server.port);
    await client.send(GET + get("/bad") + get("/good"));
    expect((await client.answer()).status).toBe(200);
    expect((await client.answer()).status).toBe(500);
    expect((await client.answer()).body).toBe("GET /good ");
    expect(server.errors.length).toBe(1);
  });
}

test("an answer that was whole before the handler failed stands", async () => {
  using server = startTestHttpServer((_request, response) => {
    response.sendText(200, "", "whole");
    response.sendText(200, "", "twice");
  });
  const client = await RawClient.open(server.port);
  await client.send(GET);
  expect((await client.answer()).body).toBe("whole");
  expect(server.errors.length).toBe(1);
});

test("pipelined requests wait for an answer that comes later, and keep their order and their bytes", async () => {
  const held = heldHandler();
  using server = startTestHttpServer((request, response) =>
    targetOf(request).startsWith("/later") ? held.handler(request, response) : echo(request, response),
  );
  const [client, other] = [await RawClient.open(server.port), await RawClient.open(server.port)];
  const put = (n: number): string =>
    `PUT /later${n} HTTP/1.1\r\nHost: a\r\nX-Mark: m${n}\r\nContent-Length: 6\r\n\r\nbody-${n}`;
  await client.send(get("/0") + put(1) + get("/2") + put(3));
  expect((await client.answer()).body).toBe("GET /0 ");
  await eventually(() => held.waiting.length === 1);
  await client.send(get("/4"));
  // Others use the thread's request and writer meanwhile.
  await other.send(put(9) + get(`/${"x".repeat(500)}`));
  await eventually(() => held.waiting.length === 2);
  expect(held.waiting).toEqual(["/later1", "/later9"]);
  held.answerNext();
  expect((await client.answer()).body).toBe("/later1 m1 body-1");
  expect((await client.answer()).body).toBe("GET /2 ");
  await eventually(() => held.waiting.length === 3);
  held.answerNext();
  expect((await other.answer()).body).toBe("/later9 m9 body-9");
  expect((await other.answer()).body).toBe(`GET /${"x".repeat(500)} `);
  held.answerNext();
  expect((await client.answer()).body).toBe("/later3 m3 body-3");
  expect((await client.answer()).body).toBe("GET /4 ");
});

test("an answer begun before others are served, and ended after them, keeps its bytes", async () => {
  const gate = Promise.withResolvers<void>();
  using server = startTestHttpServer(async (request, response) => {
    if (targetOf(request) !== "/begun") {
      await echo(request, response);
      return;
    }
    response.beginBody(200, "X-A: b\r\n", 4);
    response.position += response.buffer.write("ab", response.position);
    await gate.promise;
    response.position += response.buffer.write("cd", response.position);
    response.endBody();
  });
  const [client, other] = [await RawClient.open(server.port), await RawClient.open(server.port)];
  await client.send(get("/0") + get("/begun") + get("/1"));
  expect((await client.answer()).body).toBe("GET /0 ");
  await other.send(get("/other"));
  expect((await other.answer()).body).toBe("GET /other ");
  gate.resolve();
  const answer = await client.answer();
  expect([answer.body, answer.headers.get("x-a")]).toEqual(["abcd", "b"]);
  expect((await client.answer()).body).toBe("GET /1 ");
});

test("what arrives during an answer that comes later is read only up to a bound", async () => {
  const held = heldHandler();
  using server = startTestHttpServer((request, response) =>
    targetOf(request) === "/later" ? held.handler(request, response) : echo(request, response),
  );
  const client = await RawClient.open(server.port);
  await client.send(get("/later"));
  await eventually(() => held.waiting.length === 1);
  const flood = Buffer.from(get("/flood", `X: ${"a".repeat(8000)}\r\n`).repeat(4_000));
  let taken = false;
  const sent = client.send(flood).then(() => {
    taken = true;
  });
  const other = await RawClient.open(server.port);
  for (let i = 0; i < 500; i++) {
    await other.send(GET);
    await other.answer();
  }
  expect(taken).toBe(false);
  held.answerNext();
  await sent;
  expect((await client.answer()).body).toBe("/later null ");
  for (let i = 0; i < 4_000; i++) expect((await client.answer()).body).toBe("GET /flood ");
});

test("a client that goes away before its answer comes is no error", async () => {
  const held = heldHandler();
  using server = startTestHttpServer(held.handler);
  const client = await RawClient.open(server.port);
  await client.send(get("/later"));
  await eventually(() => held.waiting.length === 1);
  client.socket.resetAndDestroy();
  await eventually(() => server.connections === 0);
  held.answerNext();
  const next = await RawClient.open(server.port);
  await next.send(get("/next"));
  await eventually(() => held.waiting.length === 2);
  held.answerNext();
  expect((await next.answer()).status).toBe(200);
  expect(server.errors).toEqual([]);
});
