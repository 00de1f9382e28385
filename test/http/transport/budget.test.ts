import { expect, test } from "bun:test";
import { ApiError } from "../../../src/http/transport/api-error.ts";
import { ByteBudget, InFlight } from "../../../src/runtime/byte-budget.ts";
import { startTestHttpServer, targetOf } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";
import { eventually } from "../../support/until.ts";

const MIB = 1024 * 1024;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** `/late` answers by a promise, `/large` with 2 MiB; without room it is 503. */
function serve(budget: ByteBudget) {
  return startTestHttpServer(
    (request, response) => {
      const target = targetOf(request);
      const answer = () => {
        try {
          const bytes = target.includes("large") ? 2 * MIB : 10;
          response.sendBytes(200, "", Buffer.alloc(bytes, 0x61), 0, bytes);
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          response.sendText(error.status, error.headers, error.code);
        }
      };
      return target.includes("late") ? Promise.resolve().then(answer) : answer();
    },
    {},
    { budget },
  );
}

test.each(["/large", "/late-large"])(
  "an answer that has no room is 503 with Retry-After, and small ones go on: %s",
  async (path) => {
    const budget = ByteBudget.create(MIB);
    budget.count(InFlight.Bodies, MIB);
    using server = serve(budget);
    const client = await RawClient.open(server.port);
    for (const small of ["/", "/late"]) {
      await client.send(get(path));
      const refusal = await client.answer();
      expect([refusal.status, refusal.body, refusal.headers.get("retry-after")]).toEqual([503, "ERR_OVERLOADED", "1"]);
      await client.send(get(small));
      expect((await client.answer()).status).toBe(200);
    }
    expect([server.errors, budget.usedBytes]).toEqual([[], MIB]);
  },
);

test.each(["/large", "/late-large"])(
  "what an answer holds is given back once it is sent, or its client is gone: %s",
  async (path) => {
    const budget = ByteBudget.create(64 * MIB);
    using server = serve(budget);
    const client = await RawClient.open(server.port);
    await client.send(get(path));
    expect((await client.answer()).body.length).toBe(2 * MIB);
    expect(budget.usedBytes).toBe(0);

    const deaf = await Promise.all(Array.from({ length: 8 }, () => RawClient.open(server.port)));
    for (const one of deaf) {
      one.socket.pause();
      await one.send(get(path).repeat(100));
    }
    await eventually(() => budget.usedBytes >= 8 * MIB);
    for (const one of deaf) one.socket.destroy();
    await eventually(() => server.connections === 1);
    expect(budget.usedBytes).toBe(0);
    client.socket.destroy();
  },
);
