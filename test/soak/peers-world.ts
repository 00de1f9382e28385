/**
 * Three nodes that are each other's peers. A node sees its own writes at once, and the others' in time; when everything is
 * mended they agree, and what one of them acknowledged last is what all have that were not emptied by a restart since.
 */
import { quietPort } from "../support/free-port.ts";
import type { History, Operation } from "../support/history.ts";
import { callsOf } from "../support/node-calls.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import type { Rules } from "./checker.ts";
import { proxyFaults } from "./proxy-faults.ts";
import { IN_ANOTHER_HOUR, RealNode } from "./soak-node.ts";
import { between, type Fault, type World, type WorldOptions } from "./world.ts";

const NAMES = ["a", "b", "c"] as const;
const KEYS_EACH = 16;
/** Keys that all nodes write. Which of two writes at different nodes is the newer one, their clocks decide. */
const SHARED = ":shared:";
const MEETING_LIMIT_MS = 90_000;
const CLOCK_APART_S = 20;

export async function peersWorld(options: WorldOptions): Promise<World> {
  const folder = tempFolder();
  const ports = NAMES.map(() => quietPort());
  const ways = new Map<string, TcpProxy>();
  for (const from of NAMES) {
    for (const [to, port] of ports.entries()) {
      if (NAMES[to] !== from) ways.set(`${from}>${NAMES[to]}`, await startTcpProxy(port));
    }
  }
  const nodes = await Promise.all(
    NAMES.map((name, at) => {
      const peers = NAMES.flatMap((other) => ways.get(`${name}>${other}`)?.port ?? []);
      return RealNode.start({
        ...options,
        name,
        folder: folder.path,
        port: ports[at] ?? quietPort(),
        flags: [
          "--entry-memory=32MiB",
          `--workers=${1 + (at % 2)}`,
          `--peers=${peers.map((port) => `http://127.0.0.1:${port}`).join(",")}`,
          "--peer-compare=2s",
        ],
      });
    }),
  );
  return {
    name: "three peers",
    nodes,
    faults: [
      // What is stamped an hour ahead waits for its time: no round could end.
      ...nodes.flatMap((node) => node.faults(options)).filter(({ name }) => !name.endsWith(IN_ANOTHER_HOUR)),
      ...[...ways].flatMap(([name, proxy]) => proxyFaults(`way ${name}`, proxy, options)),
      ...nodes.map((node) => cutOff(node, ways, options)),
      ...together(nodes, ways, options),
      ...(RealNode.hasClock ? nodes.map((node) => clockApart(node, options)) : []),
      ...(RealNode.hasClock ? nodes.map((node) => clockBehind(node, options)) : []),
    ],
    rules: rulesOf(nodes),
    patternsMayMiss: false,
    keysOf(round, at) {
      const keys = (middle: string) => Array.from({ length: KEYS_EACH }, (_, number) => `r${round}${middle}${number}`);
      const own = `:${NAMES[at]}:`;
      return {
        writes: [...keys(own), ...keys(SHARED)],
        reads: [...NAMES.flatMap((name) => keys(`:${name}:`)), ...keys(SHARED)],
        groups: [`r${round}${own}`, `r${round}${SHARED}`],
      };
    },
    async settle() {
      for (const proxy of ways.values()) proxy.mode = { kind: "pass" };
      await meet(nodes);
      await Promise.all(nodes.map((node) => node.settle()));
    },
    finalChecks: async (history) => divergentIn(history),
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node.kill()));
      for (const proxy of ways.values()) proxy[Symbol.dispose]();
      folder[Symbol.dispose]();
    },
  };
}

function rulesOf(nodes: readonly RealNode[]): Rules {
  const isFinal = ({ client }: Operation) => client === "final";
  const restartedMs = (name: string) => nodes.find((node) => node.name === name)?.startedMs ?? 0;
  return {
    // Memory ends with its process, and what another node wrote is due in the end only.
    allowsMiss: (read, written) =>
      read.key.includes(SHARED) ||
      restartedMs(read.node) > written.startMs ||
      (read.node !== written.node && !isFinal(read)),
    lagMs: (read, newer, seen) => {
      const isOrdered = seen === undefined || seen.node === newer.node;
      return isOrdered && (read.node === newer.node || isFinal(read)) ? 0 : Number.POSITIVE_INFINITY;
    },
    // Durable means on its way: a peer can have what the node itself stores only a moment later, before it answers.
    shows: (read, written) => read.node === written.node,
  };
}

/** One node is alone for a while, and takes writes like the others. */
function cutOff(node: RealNode, ways: ReadonlyMap<string, TcpProxy>, { random }: WorldOptions): Fault {
  return {
    name: `${node.name} cut off`,
    run: async () => {
      const own = [...ways].filter(([name]) => name.includes(node.name)).map(([, proxy]) => proxy);
      for (const proxy of own) {
        proxy.mode = { kind: "refuse" };
        proxy.cut();
      }
      await Bun.sleep(between(random, 500, 5_000));
      for (const proxy of own) proxy.mode = { kind: "pass" };
    },
  };
}

/** Links cut, writes on both sides, then several restarts before the links are whole. */
function together(nodes: readonly RealNode[], ways: ReadonlyMap<string, TcpProxy>, { random }: WorldOptions): Fault[] {
  const [first, second] = nodes;
  if (first === undefined || second === undefined) return [];
  return [
    {
      name: "all links cut, two nodes killed, healed",
      run: async () => {
        for (const proxy of ways.values()) {
          proxy.mode = { kind: "refuse" };
          proxy.cut();
        }
        await Bun.sleep(between(random, 300, 2_000));
        await Promise.all([first.kill(), second.kill()]);
        await Promise.all([first.start(), second.start()]);
        for (const proxy of ways.values()) proxy.mode = { kind: "pass" };
      },
    },
  ];
}

function clockApart(node: RealNode, { random }: WorldOptions): Fault {
  return {
    name: `${node.name} with its clock ${CLOCK_APART_S} s apart`,
    run: async () => {
      node.setClock(random() < 0.5 ? CLOCK_APART_S : -CLOCK_APART_S);
      await Bun.sleep(between(random, 1_500, 5_000));
      node.setClock(0);
    },
  };
}

function clockBehind(node: RealNode, { random }: WorldOptions): Fault {
  return {
    name: `${node.name} with its clock an hour behind`,
    run: async () => {
      node.setClock(-3_600);
      await Bun.sleep(between(random, 1_500, 4_000));
      node.setClock(0);
    },
  };
}

async function meet(nodes: readonly RealNode[]): Promise<void> {
  try {
    await until("all links are up and empty", () => areQuiet(nodes), MEETING_LIMIT_MS);
  } catch (cause) {
    const links = await Promise.all(nodes.map(({ name, port }) => linksOf(name, port)));
    throw new Error(`the nodes do not meet: ${links.join("; ")}`, { cause });
  }
}

async function linksOf(name: string, port: number): Promise<string> {
  try {
    return `${name}: ${JSON.stringify((await callsOf(port).json("/api/stats")).peers.links)}`;
  } catch (error) {
    return `${name}: ${String(error)}`;
  }
}

async function areQuiet(nodes: readonly RealNode[]): Promise<boolean> {
  try {
    const stats = await Promise.all(nodes.map(({ port }) => callsOf(port).json("/api/stats")));
    return stats.every(({ peers }) =>
      peers.links.every(
        ({ state, queue }: { state: string; queue: { mutations: number } }) => state === "up" && queue.mutations === 0,
      ),
    );
  } catch {
    return false;
  }
}

/** Keys of which two nodes have two different values in the end. */
function divergentIn({ operations }: History): string[] {
  const found = new Map<string, Operation>();
  const divergent: string[] = [];
  for (const read of operations) {
    if (read.client !== "final" || read.value === null) continue;
    const other = found.get(read.key);
    if (other === undefined) found.set(read.key, read);
    else if (other.value !== read.value) {
      divergent.push(`divergent: ${read.key} is ${other.value} at ${other.node}, ${read.value} at ${read.node}`);
    }
  }
  return divergent;
}
