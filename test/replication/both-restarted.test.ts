/** FAULTS 36, with real nodes: what was acknowledged while links were cut is everywhere in the end, whoever restarts. */
import { afterEach, describe, expect, test } from "bun:test";
import { type Mesh, type MeshNode, startMesh } from "../support/mesh.ts";
import { endServed } from "../support/serve.ts";

const TIMEOUT_MS = 300_000;
/** Nothing can be drained to a node that is cut off. */
const SHORT_DRAIN = { flags: ["--drain-timeout=100ms"] };

afterEach(endServed);

type Signal = "SIGTERM" | "SIGKILL";

async function restartAll(nodes: readonly MeshNode[], signal: Signal): Promise<void> {
  for (const node of nodes) node.signal(signal);
  await Promise.all(nodes.map((node) => node.process.finished()));
  await Promise.all(nodes.map((node) => node.start()));
}

function pairOf({ nodes: [first, second] }: Mesh): readonly [MeshNode, MeshNode] {
  if (first === undefined || second === undefined) throw new Error("nodes were started");
  return [first, second];
}

async function unplacedAt(node: MeshNode): Promise<number> {
  const { peers } = await node.calls.json("/health");
  const facts: { unplaced?: number }[] = Object.values(peers.facts ?? peers);
  return facts.reduce((sum, { unplaced = 0 }) => sum + unplaced, 0);
}

describe.each<Signal>(["SIGKILL", "SIGTERM"])(
  "after a cut in which both ends wrote and were restarted by %s",
  (signal) => {
    test(
      "two nodes have both values",
      async () => {
        await using mesh = await startMesh(2, SHORT_DRAIN);
        const [a, b] = pairOf(mesh);
        mesh.cutOff(0);
        await a.calls.put("x", 1);
        await b.calls.put("y", 2);
        await restartAll([a, b], signal);
        mesh.join(0);
        await mesh.until("both are at both", async () => {
          const found = await Promise.all([a, b].map(({ calls }) => calls.values(["x", "y"])));
          return found.every((values) => values.get("x") === 1 && values.get("y") === 2);
        });
        expect([...(await mesh.agreed(["x", "y"])).values()]).toEqual([1, 2]);
      },
      TIMEOUT_MS,
    );

    test(
      "three nodes have them when the one that was away is back, and say until then what waits",
      async () => {
        await using mesh = await startMesh(3, SHORT_DRAIN);
        const [a, b] = pairOf(mesh);
        const [, , c] = mesh.nodes;
        if (c === undefined) throw new Error("three nodes were started");
        await c.calls.put("x", 0);
        await mesh.agreed(["x"]);
        mesh.cutOff(0);
        mesh.cutOff(1);
        await a.calls.put("x", 1);
        await b.calls.put("y", 2);
        await c.kill();
        await restartAll([a, b], signal);
        mesh.join(0);
        mesh.join(1);
        // Whether the later of the two has to wait as well depends on when the other was heard last.
        await mesh.until("it is said what waits", async () => (await unplacedAt(a)) === 1);
        expect([(await a.calls.values(["x"])).get("x"), (await b.calls.values(["y"])).get("y")]).toEqual([1, 2]);
        await c.start();
        await mesh.until("all have all", async () => {
          const found = await Promise.all(mesh.nodes.map(({ calls }) => calls.values(["x", "y"])));
          return found.every((values) => values.get("x") === 1 && values.get("y") === 2);
        });
        expect([...(await mesh.agreed(["x", "y"])).values()]).toEqual([1, 2]);
      },
      TIMEOUT_MS,
    );
  },
);
