import { expect, test } from "bun:test";
import { RawClient } from "../support/raw-client.ts";

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
