/** Nodes that come, go, move and are mistaken for each other: what the guide says of it, with real nodes. */

import { afterEach, describe, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { quietPort } from "../support/free-port.ts";
import { callsOf, type NodeCalls } from "../support/node-calls.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const TIMEOUT_MS = 300_000;

afterEach(endServed);

const urlOf = (port: number) => `http://127.0.0.1:${port}`;

/** A node at an address with a data directory of a name; both may change from start to start. */
function startAt(
  folder: TempFolder,
  name: string,
  port: number,
  peers: readonly number[],
  more: string[] = ["--peer-compare=1s"],
) {
  // What a peer that is away does not have yet waits for the next start, not for the end of this one.
  const own = ["--entry-memory=32MiB", "--workers=1", "--drain-timeout=100ms", ...more];
  const list = `--peers=${peers.map(urlOf).join(",")}`;
  return serve([`--addr=127.0.0.1:${port}`, `--data-dir=${join(folder.path, name)}`, list, ...own]);
}

async function end(node: ServedNode, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<string> {
  node.signal(signal);
  return (await node.finished()).stderr;
}

async function have(ports: readonly number[], expected: Readonly<Record<string, number>>): Promise<void> {
  const keys = Object.keys(expected);
  await until(`all of ${ports} have ${JSON.stringify(expected)}`, async () => {
    const found = await Promise.all(ports.map((port) => callsOf(port).values(keys)));
    return found.every((values) => keys.every((key) => values.get(key) === expected[key]));
  });
}

const detailOf = async (calls: NodeCalls): Promise<string> => (await calls.json("/health")).peers?.detail ?? "";

async function areOk(ports: readonly number[]): Promise<void> {
  await until("all have met", async () => {
    const health = await Promise.all(ports.map((port) => callsOf(port).json("/health")));
    return health.every(({ peers }) => peers?.status === "ok");
  });
}

describe("a node that is added to a mesh that runs", () => {
  test.each([["first"], ["last"]])(
    "gets everything, whether it is started %s or the others learn of it before",
    async (order) => {
      using folder = tempFolder();
      const [a, b, c] = [quietPort(), quietPort(), quietPort()];
      const all = [a, b, c];
      let first = await startAt(folder, "a", a, [a, b]);
      let second = await startAt(folder, "b", b, [a, b]);
      await areOk([a, b]);
      await callsOf(a).put("before", 1);
      await have([a, b], { before: 1 });

      const restarts = async () => {
        await end(first);
        first = await startAt(folder, "a", a, all, ["--bootstrap=peer", "--peer-compare=1s"]);
        await callsOf(b).put("between", 2);
        await until("it is ready", async () => (await callsOf(a).call("GET", "/readyz")).status === 200);
        await end(second);
        second = await startAt(folder, "b", b, all, ["--bootstrap=peer", "--peer-compare=1s"]);
      };
      const start = () => startAt(folder, "c", c, all, ["--bootstrap=peer", "--peer-compare=1s"]);
      if (order === "first") {
        await start();
        await restarts();
      } else {
        await restarts();
        await start();
      }
      await areOk(all);
      await callsOf(c).put("after", 3);
      await have(all, { after: 3 });
      await callsOf(a).put("last", 4);
      await have(all, { before: 1, between: 2, after: 3, last: 4 });
    },
    TIMEOUT_MS,
  );
});

test(
  "a node that starts while another is away is ready soon, says what is missing, and gets it when that one is back",
  async () => {
    using folder = tempFolder();
    const [a, b, c] = [quietPort(), quietPort(), quietPort()];
    const all = [a, b, c];
    const first = await startAt(folder, "a", a, all);
    await startAt(folder, "b", b, all);
    const third = await startAt(folder, "c", c, all);
    await areOk(all);
    await callsOf(b).put("k", 1);
    await have(all, { k: 1 });
    await end(third);
    await end(first);
    await startAt(folder, "new", a, all, ["--bootstrap=peer", "--bootstrap-timeout=1h", "--peer-compare=off"]);
    await until("it is ready", async () => (await callsOf(a).call("GET", "/readyz")).status === 200);
    expect(await detailOf(callsOf(a))).toContain("are still to come");
    await startAt(folder, "c", c, all);
    await have(all.slice(0, 2), { k: 1 });
    await until("nothing is to come", async () => !(await detailOf(callsOf(a))).includes("still to come"));
  },
  TIMEOUT_MS,
);

test(
  "a node that is removed costs nothing: what waited for it is dropped, and that is said",
  async () => {
    using folder = tempFolder();
    const [a, b, c] = [quietPort(), quietPort(), quietPort()];
    const first = await startAt(folder, "a", a, [a, b, c]);
    await startAt(folder, "b", b, [a, b, c]);
    const third = await startAt(folder, "c", c, [a, b, c]);
    await areOk([a, b, c]);
    await end(third);
    await callsOf(a).put("k", 1);
    await have([a, b], { k: 1 });
    await end(first);
    const again = await startAt(folder, "a", a, [a, b]);
    await until("it is ok", async () => (await callsOf(a).json("/health")).peers?.status === "ok");
    expect(await end(again)).toContain("1 mutations for");
  },
  TIMEOUT_MS,
);

test(
  "two nodes that swap their addresses while mutations wait lose nothing",
  async () => {
    using folder = tempFolder();
    const [a, b, c] = [quietPort(), quietPort(), quietPort()];
    const all = [a, b, c];
    await startAt(folder, "a", a, all);
    const second = await startAt(folder, "b", b, all);
    const third = await startAt(folder, "c", c, all);
    await areOk(all);
    await callsOf(b).put("old", 1);
    await have(all, { old: 1 });
    await end(second, "SIGKILL");
    await end(third, "SIGKILL");
    await callsOf(a).put("old", 2);
    await callsOf(a).put("new", 3);
    await startAt(folder, "c", b, all);
    await startAt(folder, "b", c, all);
    await have(all, { old: 2, new: 3 });
  },
  TIMEOUT_MS,
);

test(
  "a node that has itself as a peer by a second name sends itself nothing",
  async () => {
    using folder = tempFolder();
    const port = quietPort();
    const list = `--peers=http://localhost:${port}`;
    await serve([`--addr=127.0.0.1:${port}`, `--data-dir=${join(folder.path, "a")}`, list]);
    const calls = callsOf(port);
    const link = async () => (await calls.json("/api/stats")).peers.links[0];
    await until("it knows itself", async () => (await link()).state === "self");
    await calls.put("k", 1);
    expect([(await link()).queue.mutations, (await calls.json("/health")).peers.status]).toEqual([0, "ok"]);
  },
  TIMEOUT_MS,
);

test(
  "a data directory that was copied to a second node is told by both, and nothing acknowledged is lost",
  async () => {
    using folder = tempFolder();
    const [a, b] = [quietPort(), quietPort()];
    const first = await startAt(folder, "a", a, [a, b]);
    await callsOf(a).put("k", 1);
    await end(first, "SIGKILL");
    await cp(join(folder.path, "a"), join(folder.path, "copy"), { recursive: true });
    await startAt(folder, "a", a, [a, b]);
    const copy = await startAt(folder, "copy", b, [a, b]);
    for (const port of [a, b]) {
      await until("it is told", async () => (await detailOf(callsOf(port))).includes("same node id"));
    }
    await callsOf(a).put("x", 2);
    await end(copy);
    await startAt(folder, "fresh", b, [a, b]);
    await have([a, b], { k: 1, x: 2 });
  },
  TIMEOUT_MS,
);

test(
  "a data directory that was restored from a backup brings nothing older back",
  async () => {
    using folder = tempFolder();
    const [a, b] = [quietPort(), quietPort()];
    let first = await startAt(folder, "a", a, [a, b]);
    await callsOf(a).put("k", 1);
    await callsOf(a).put("gone", 1);
    await end(first, "SIGKILL");
    await cp(join(folder.path, "a"), join(folder.path, "backup"), { recursive: true });
    first = await startAt(folder, "a", a, [a, b]);
    await startAt(folder, "b", b, [a, b]);
    await areOk([a, b]);
    await callsOf(a).put("k", 2);
    await callsOf(a).remove("gone");
    await have([a, b], { k: 2 });
    await until("it is gone", async () => (await callsOf(b).get("gone")).status === 404);
    await end(first);
    await startAt(folder, "backup", a, [a, b]);
    await callsOf(a).put("later", 3);
    await have([a, b], { later: 3 });
    expect((await callsOf(b).values(["k", "gone"])).get("k")).toBe(2);
    expect((await callsOf(b).get("gone")).status).toBe(404);
  },
  TIMEOUT_MS,
);
