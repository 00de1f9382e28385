import { afterEach, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { freePort } from "../support/free-port.ts";
import { startKeepAliveClient } from "../support/keep-alive-client.ts";
import { endServed, runMain, serve } from "../support/serve.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

const small = ["--addr=127.0.0.1:0", "--entry-memory=64MiB"];

describe.each([
  ["1", "1 thread"],
  ["2", "2 threads"],
])("a node with --workers %s", (workers, threads) => {
  const args = [...small, `--workers=${workers}`];

  test("prints one line when it is ready, and answers", async () => {
    const node = await serve(args);
    expect(node.readyLine).toMatch(
      new RegExp(
        `^servcache [0-9.]+ listens on http://127\\.0\\.0\\.1:${node.port} · engine memory · memory [^·]+ \\(64MiB entries, [^·]+\\) · ${threads}$`,
      ),
    );
    const response = await fetch(`http://127.0.0.1:${node.port}/healthz`);
    expect(response.status).toBe(200);
  });

  test.each([["SIGTERM"], ["SIGINT"]] as const)("ends with code 0 and no further output on %s", async (signal) => {
    const node = await serve(args);
    node.signal(signal);
    expect(await node.finished()).toEqual({ exitCode: 0, stdout: `${node.readyLine}\n`, stderr: "" });
  });

  test("loses no request when it is stopped under load", async () => {
    const node = await serve(args);
    const clients = Array.from({ length: 16 }, () => startKeepAliveClient(node.port, "/healthz"));
    await until("every client has 20 answers", () => clients.every((client) => client.answers >= 20));
    node.signal("SIGTERM");
    const losses = await Promise.all(clients.map((client) => client.over));
    expect(losses).toEqual(clients.map(() => null));
    expect(await node.finished()).toMatchObject({ exitCode: 0, stderr: "" });
  });

  test("says in one line that its port is in use by another node, and ends with code 1", async () => {
    const node = await serve(args);
    const second = await runMain(["serve", ...args, `--addr=127.0.0.1:${node.port}`].filter((arg) => arg !== small[0]));
    expect(second).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `servcache: cannot listen on 127.0.0.1:${node.port}: the port is in use; stop what listens there or choose another one with --addr or PORT\n`,
    });
  });
});

test.each([["2"], ["1"]])(
  "of nodes with --workers %s that start together on one port, one listens and the others say why not",
  async (workers) => {
    for (let turn = 0; turn < 5; turn++) {
      const port = freePort();
      const nodes = [1, 2, 3].map(() => {
        const node = serve([`--addr=127.0.0.1:${port}`, "--entry-memory=64MiB", `--workers=${workers}`]);
        return node.then(
          () => "listens",
          (error: Error) => error.message,
        );
      });
      const told = (await Promise.all(nodes)).sort();
      const inUse = `cannot listen on 127.0.0.1:${port}: the port is in use;`;
      expect(told).toEqual(["listens", expect.stringContaining(inUse), expect.stringContaining(inUse)]);
      await endServed();
    }
  },
);

describe("a node", () => {
  test("refuses a port that another program holds on one interface only, when it is to listen on all", async () => {
    const other = createServer();
    await new Promise<void>((listening) => other.listen(0, "127.0.0.1", listening));
    const bound = other.address();
    const port = typeof bound === "object" ? bound?.port : undefined;
    const { exitCode, stderr } = await runMain(["serve", `--addr=:${port}`, "--workers=2"]);
    other.close();
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`\nservcache: cannot listen on 0.0.0.0:${port}: the port is in use;`);
  });

  test("answers on IPv4 and IPv6 when it listens on all interfaces", async () => {
    const node = await serve(["--addr=:0", "--entry-memory=64MiB", "--workers=2"]);
    for (const host of ["127.0.0.1", "[::1]"]) {
      expect((await fetch(`http://${host}:${node.port}/healthz`)).status).toBe(200);
    }
  });

  test("refuses an address that the machine does not have", async () => {
    const { exitCode, stderr } = await runMain(["serve", "--addr=192.0.2.1:0"]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("\nservcache: cannot listen on 192.0.2.1:0: this machine has no such address;");
  });

  test("warns in one line that there is no authentication where others can reach it, and nothing where they can't", async () => {
    const open = await serve(["--addr=:0", "--entry-memory=64MiB"]);
    open.signal("SIGTERM");
    const { stderr } = await open.finished();
    expect(JSON.parse(stderr)).toMatchObject({ level: "warn", message: expect.stringContaining("no authentication") });
    const loopback = await serve(small);
    loopback.signal("SIGTERM");
    expect((await loopback.finished()).stderr).toBe("");
  });

  test("warns of an unknown variable in one line and starts", async () => {
    const node = await serve(small, { SERV_CACHE_TYPO: "1" });
    node.signal("SIGTERM");
    const { exitCode, stderr } = await node.finished();
    expect([exitCode, JSON.parse(stderr)]).toEqual([
      0,
      {
        level: "warn",
        time: expect.any(String),
        message: "SERV_CACHE_TYPO is set, but ServCache knows no such variable: it has no effect",
      },
    ]);
  });
});
