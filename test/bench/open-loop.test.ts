import { expect, test } from "bun:test";
import { openLoop } from "../../bench/support/open-loop.ts";

const LOAD = {
  pathPrefix: "/k",
  digits: 3,
  keys: 10,
  requestsPerSecond: 400,
  seconds: 0.5,
  warmupSeconds: 0,
  connections: 1,
};

test("a stall of the server shows in every request that was due during it", async () => {
  let answered = 0;
  const stallMs = 200;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch() {
      answered++;
      if (answered === 20) Bun.sleepSync(stallMs);
      return new Response("x");
    },
  });
  // The server stalls this very thread, and so the sender: what was due meanwhile counts from when it was due.
  const report = await openLoop({ ...LOAD, port: server.port ?? 0 });
  await server.stop(true);
  expect(report.requests).toBe(200);
  expect(report.maxMs).toBeGreaterThanOrEqual(stallMs - 1);
  // 80 of 200 requests were due during the stall, evenly: a tenth of all waited for three quarters of it or more.
  expect(report.p99Ms).toBeGreaterThan(stallMs / 2);
});

test("an answer that is an error ends the load with an error", async () => {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("no", { status: 500 }) });
  const load = openLoop({ ...LOAD, port: server.port ?? 0 });
  await expect(load).rejects.toThrow("status 500");
  await server.stop(true);
});
