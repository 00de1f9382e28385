import { describe, expect, test } from "bun:test";
import { admitsBody } from "../../../src/http/rest/admission.ts";
import type { HttpRequest } from "../../../src/http/transport/exchange.ts";
import { ByteBudget } from "../../../src/runtime/byte-budget.ts";
import { echo, startTestHttpServer, targetOf } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";

const BODY_BYTES = 8 * 1024 * 1024;
const post = (path: string, headers = "") =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY_BYTES}\r\n${headers}\r\n`;

const friends = { admits: (authorization: string | null) => authorization === "Bearer secret" };

describe("the body of a request from whom nothing is taken", () => {
  test.each([
    ["is not read, however long it is", ""],
    ["is not asked for", "Expect: 100-continue\r\n"],
  ])("%s", async (_, headers) => {
    const budget = ByteBudget.create(1024 * 1024);
    const admits = (request: HttpRequest) => targetOf(request) !== "/closed";
    using server = startTestHttpServer(
      (request, response) => {
        if (admits(request)) echo(request, response);
        else response.sendText(403, "", `no, and ${request.bodyEnd - request.bodyStart} bytes`);
      },
      {},
      { budget, admits },
    );
    const client = await RawClient.open(server.port, { allowHalfOpen: true });
    await client.send(post("/closed", headers));
    const answer = await client.answer();
    expect([answer.status, answer.body, answer.headers.get("connection")]).toEqual([403, "no, and 0 bytes", "close"]);
    // What is sent all the same is dropped.
    await client.send(Buffer.alloc(BODY_BYTES));
    expect([budget.usedBytes, budget.refusals]).toEqual([0, 0]);
    client.socket.end();
    expect(await client.closed).toBeNull();
  });

  test.each([
    ["/api/replication", "", false],
    ["/api/v1/replication?a=b", "", false],
    ["/api/replication", "Authorization: Bearer secret\r\n", true],
    ["/api/replication2", "", true],
    ["/api/cache", "", true],
  ])("is that of a peer's link: %s %p -> %p", async (path, headers, isAdmitted) => {
    const seen: boolean[] = [];
    const admits = admitsBody(friends);
    using server = startTestHttpServer(
      (_, response) => response.sendText(200, "", ""),
      {},
      {
        admits: (request) => {
          seen.push(admits(request));
          return false;
        },
      },
    );
    const client = await RawClient.open(server.port);
    await client.send(post(path, headers));
    await client.answer();
    expect(seen).toEqual([isAdmitted]);
  });

  test("is nobody's where there are no peers", async () => {
    let isAdmitted = true;
    using server = startTestHttpServer(
      (_, response) => response.sendText(200, "", ""),
      {},
      {
        admits: (request) => {
          isAdmitted = admitsBody(null)(request);
          return false;
        },
      },
    );
    const client = await RawClient.open(server.port);
    await client.send(post("/api/replication"));
    await client.answer();
    expect(isAdmitted).toBe(false);
  });
});
