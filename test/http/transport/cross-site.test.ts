import { afterAll, beforeAll, expect, test } from "bun:test";
import { type HttpServer, startHttpServer } from "../../../src/http/transport/server.ts";
import { systemScheduler } from "../../../src/runtime/scheduler.ts";
import { echo } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";

const OWN = "Host: localhost:8088\r\n";

let server: HttpServer;
let handled = 0;
beforeAll(() => {
  server = startHttpServer({
    hostname: "127.0.0.1",
    port: 0,
    refusesOtherSites: true,
    handler: (request, response) => {
      handled += 1;
      return echo(request, response);
    },
    clock: systemScheduler,
    onError: () => {},
  });
});
afterAll(() => server.stop());

async function answerTo(head: string, body = "") {
  const client = await RawClient.open(server.port);
  await client.send(`${head}\r\n${body}`);
  const answer = await client.answer();
  client.socket.destroy();
  return answer;
}

test.each([
  ["GET / HTTP/1.1\r\nHost: localhost\r\n"],
  ["GET / HTTP/1.1\r\nHost: LOCALHOST:1\r\n"],
  ["GET / HTTP/1.1\r\nHost: 127.0.0.1:8088\r\n"],
  ["GET / HTTP/1.1\r\nHost: 127.1.2.3\r\n"],
  ["GET / HTTP/1.1\r\nHost: [::1]:8088\r\n"],
  ["GET / HTTP/1.0\r\n"],
  ["GET http://localhost:8088/ HTTP/1.0\r\n"],
  ["GET http://localhost:8088/ HTTP/1.1\r\nHost: evil.test\r\n"],
  [`GET / HTTP/1.1\r\n${OWN}Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost:8088\r\n`],
  ["GET / HTTP/1.1\r\nOrigin: https://LocalHost:8443\r\nHost: localhost:8443\r\n"],
  [`GET / HTTP/1.1\r\n${OWN}Sec-Fetch-Site: none\r\nReferer: http://evil.test/\r\n`],
])("a program on the machine, and a page of the node's own, are served: %p", async (head) => {
  expect((await answerTo(head)).status).toBe(200);
});

test.each([
  ["GET / HTTP/1.1\r\nHost: evil.test:8088\r\n"],
  ["GET / HTTP/1.1\r\nHost: localhost.evil.test\r\n"],
  ["GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.test\r\n"],
  ["GET / HTTP/1.1\r\nHost: 127.evil.test:80\r\n"],
  ["GET / HTTP/1.1\r\nHost: 10.0.0.1:8088\r\n"],
  ["GET / HTTP/1.1\r\nHost: 0.0.0.0:8088\r\n"],
  ["GET / HTTP/1.1\r\nHost: localhos\r\n"],
  ["GET / HTTP/1.1\r\nHost:\r\n"],
  ["GET http://evil.test/ HTTP/1.1\r\nHost: localhost\r\n"],
  ["GET http://evil.test/ HTTP/1.0\r\n"],
  ["GET / HTTP/1.1\r\nHost: localhost:80.evil.test\r\n"],
  ["GET / HTTP/1.1\r\nHost: 127.0.0.1:8088evil\r\n"],
  [`GET / HTTP/1.1\r\n${OWN}Sec-Fetch-Site: cross-site\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}sec-fetch-site: same-site\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Origin: null\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Origin:\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Origin: http://localhost:3000\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Origin: http://localhost:8088.evil.test\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Origin: file://localhost:8088\r\n`],
  [`GET / HTTP/1.1\r\n${OWN}Origin: http://localhost:8088\r\nOrigin: http://evil.test\r\n`],
  ["GET / HTTP/1.1\r\nORIGIN: http://evil.test\r\nHost: localhost\r\n"],
  ["GET / HTTP/1.0\r\nOrigin: http://evil.test\r\n"],
  [`GET / HTTP/1.1\r\n${OWN}Origin: http://evil.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`],
  [`POST / HTTP/1.1\r\n${OWN}Origin: http://evil.test\r\nContent-Length: 1000\r\n`],
  [`OPTIONS / HTTP/1.1\r\n${OWN}Origin: http://evil.test\r\nAccess-Control-Request-Method: PUT\r\n`],
])("another site's page, and another host, are refused before anything is done: %p", async (head) => {
  const before = handled;
  const { status, headers, body } = await answerTo(head);
  expect([status, JSON.parse(body).code, headers.get("connection")]).toEqual([403, "ERR_CROSS_SITE", "close"]);
  expect(headers.has("access-control-allow-origin")).toBe(false);
  expect(handled).toBe(before);
});
