import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { needingThat } from "../support/needing.ts";
import { RawClient } from "../support/raw-client.ts";
import { until } from "../support/until.ts";

const GET = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const LIMIT = 64;

test("with no file descriptor left, open connections are served, and new ones once there is room", async () => {
  const program = new URL("../support/http-server-process.ts", import.meta.url).pathname;
  const server = Bun.spawn(["sh", "-c", `ulimit -n ${LIMIT}; exec "$0" "$1"`, process.execPath, program], {
    stdout: "pipe",
    stderr: "pipe",
  });
  try {
    const first = await server.stdout.getReader().read();
    const port = Number(new TextDecoder().decode(first.value));

    // The kernel completes connections that the server can't accept: they wait in its queue.
    const clients: RawClient[] = [];
    for (let i = 0; i < 2 * LIMIT; i++) clients.push(await RawClient.open(port));
    for (let round = 0; round < 3; round++) {
      await clients[0]?.send(GET);
      expect((await clients[0]?.answer())?.body).toBe("GET /a ");
    }

    const last = clients[2 * LIMIT - 1];
    await last?.send(GET);
    for (const client of clients.slice(0, -1)) client.socket.destroy();
    expect((await last?.answer())?.body).toBe("GET /a ");
    const next = await RawClient.open(port);
    await next.send(GET);
    expect((await next.answer()).body).toBe("GET /a ");
    next.socket.destroy();
    last?.socket.destroy();
    expect(server.exitCode).toBeNull();
  } finally {
    server.kill();
    await server.exited;
  }
});

needingThat(existsSync("/proc/self/fd"), "/proc, as Linux has it").test.each([1, 2])(
  "a node of %d threads under a low limit keeps descriptors free, and refuses what is too much",
  async (workers) => {
    const limit = 160;
    const main = new URL("../../src/main.ts", import.meta.url).pathname;
    const server = Bun.spawn(
      ["sh", "-c", `ulimit -n ${limit}; exec "$0" "$1" serve --addr 127.0.0.1:0`, process.execPath, main],
      {
        env: { PATH: process.env.PATH ?? "", SERV_CACHE_WORKERS: String(workers), SERV_CACHE_ENTRY_MEMORY: "16MiB" },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    try {
      const first = await server.stdout.getReader().read();
      const port = Number(/:(\d+) /.exec(new TextDecoder().decode(first.value))?.[1]);
      const clients: RawClient[] = [];
      const statuses: number[] = [];
      for (let i = 0; i < 2 * limit; i++) {
        const client = await RawClient.open(port);
        clients.push(client);
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").catch(() => {});
        // 0: cut without an answer.
        statuses.push((await client.answer().catch(() => ({ status: 0 }))).status);
        expect(readdirSync(`/proc/${server.pid}/fd`).length).toBeLessThan(limit);
      }
      const served = statuses.filter((status) => status === 200).length;
      expect(served).toBeGreaterThan(20);
      expect(statuses.filter((status) => status === 503 || status === 0).length).toBe(2 * limit - served);

      for (const client of clients) client.socket.destroy();
      await until("a new connection is served", () => isServed(port));
      server.kill("SIGTERM");
      expect(await server.exited).toBe(0);
      expect(await new Response(server.stderr).text()).toContain(`the limit of ${limit} open files leaves`);
    } finally {
      server.kill("SIGKILL");
      await server.exited;
    }
  },
  300_000,
);

async function isServed(port: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => null);
  return answer?.status === 200;
}
