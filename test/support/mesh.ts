/** Real nodes that are each other's peers, with a proxy on the way from each to each. */
import { join } from "node:path";
import { quietPort } from "./free-port.ts";
import { callsOf, type NodeCalls } from "./node-calls.ts";
import { type ServedNode, serve } from "./serve.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { until } from "./until.ts";

export interface MeshNode {
  readonly calls: NodeCalls;
  readonly port: number;
  /** Starts it again, after a kill, on its port and its data directory, or an empty one. */
  start(more?: readonly string[]): Promise<void>;
  startEmpty(more?: readonly string[]): Promise<void>;
  signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
  kill(): Promise<void>;
  readonly process: ServedNode;
}

export interface Mesh extends AsyncDisposable {
  readonly nodes: readonly MeshNode[];
  /** The way that the calls of one node take to another. */
  way(from: number, to: number): TcpProxy;
  /** Cuts one node off from the others, both ways, or joins it again. */
  cutOff(node: number): void;
  join(node: number): void;
  /** Waits for a condition; where it does not come, says how the nodes that answer see their peers. */
  until(what: string, condition: () => Promise<boolean>): Promise<void>;
  /** Waits until every node says that its peers are there. */
  met(): Promise<void>;
  /** Waits until all nodes answer the same for all keys. Gives it: null = there is no entry. */
  agreed(keys: readonly string[]): Promise<Map<string, number | null>>;
}

const FLAGS = ["--entry-memory=32MiB"];

export interface MeshSettings {
  readonly flags?: readonly string[];
  /** `--peer-compare`: never, where it is left out. */
  readonly compare?: string;
  /** By node: flags, and variables. */
  readonly each?: readonly { readonly flags?: readonly string[]; readonly env?: Readonly<Record<string, string>> }[];
}

/** `count` nodes; settles when each has met the others. */
export async function startMesh(count: number, settings: MeshSettings = {}): Promise<Mesh> {
  const folder = tempFolder();
  const ports = Array.from({ length: count }, () => quietPort());
  const ways = new Map<string, TcpProxy>();
  for (let from = 0; from < count; from++) {
    for (let to = 0; to < count; to++) {
      if (from !== to) ways.set(`${from}>${to}`, await startTcpProxy(ports[to] ?? 0));
    }
  }
  const way = (from: number, to: number): TcpProxy => {
    const found = ways.get(`${from}>${to}`);
    if (found === undefined) throw new Error(`there is no way from ${from} to ${to}`);
    return found;
  };
  const nodes = await Promise.all(
    ports.map((port, at) => {
      const others = ports.flatMap((_, to) => (to === at ? [] : [`http://127.0.0.1:${way(at, to).port}`]));
      const { flags = [], env = {} } = settings.each?.[at] ?? {};
      const own = [
        ...FLAGS,
        `--peer-compare=${settings.compare ?? "off"}`,
        `--workers=${1 + (at % 2)}`,
        `--peers=${others.join(",")}`,
        ...(settings.flags ?? []),
        ...flags,
      ];
      return startNode(port, folder, own, env);
    }),
  );
  const each = (node: number, change: (proxy: TcpProxy) => void) => {
    for (let other = 0; other < count; other++) {
      if (other === node) continue;
      change(way(node, other));
      change(way(other, node));
    }
  };
  const mesh: Mesh = {
    nodes,
    way,
    cutOff: (node) =>
      each(node, (proxy) => {
        proxy.mode = { kind: "refuse" };
        proxy.cut();
      }),
    join: (node) =>
      each(node, (proxy) => {
        proxy.mode = { kind: "pass" };
      }),
    until: (what, condition) => untilOrTell(nodes, what, condition),
    met: () => allMet(nodes),
    agreed: (keys) => allAgreed(nodes, keys),
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node.kill()));
      for (const proxy of ways.values()) proxy[Symbol.dispose]();
      folder[Symbol.dispose]();
    },
  };
  await mesh.met();
  return mesh;
}

async function startNode(
  port: number,
  folder: TempFolder,
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<MeshNode> {
  let life = 0;
  const startOn = (directory: string, more: readonly string[]) =>
    serve([`--addr=127.0.0.1:${port}`, `--data-dir=${directory}`, ...flags, ...more], env);
  const directory = () => join(folder.path, `${port}-${life}`);
  let process = await startOn(directory(), []);
  return {
    calls: callsOf(port),
    port,
    get process() {
      return process;
    },
    async start(more = []) {
      process = await startOn(directory(), more);
    },
    async startEmpty(more = []) {
      life += 1;
      process = await startOn(directory(), more);
    },
    signal: (signal) => process.signal(signal),
    async kill() {
      process.signal("SIGKILL");
      await process.finished();
    },
  };
}

async function untilOrTell(nodes: readonly MeshNode[], what: string, condition: () => Promise<boolean>): Promise<void> {
  try {
    await until(what, condition);
  } catch (cause) {
    const seen = await Promise.all(
      nodes.map(({ calls }) => calls.json("/health").then(({ peers }) => JSON.stringify(peers), String)),
    );
    throw new Error(`${what}: never; the nodes say:\n${seen.join("\n")}`, { cause });
  }
}

async function allMet(nodes: readonly MeshNode[]): Promise<void> {
  await until("all nodes have met", async () => {
    const health = await Promise.all(nodes.map((node) => node.calls.json("/health")));
    return health.every(({ peers }) => peers?.status === "ok");
  });
}

async function allAgreed(nodes: readonly MeshNode[], keys: readonly string[]): Promise<Map<string, number | null>> {
  let seen: string[] = [];
  try {
    await until("all nodes agree", async () => {
      const found = await Promise.all(nodes.map((node) => node.calls.values(keys)));
      seen = found.map((values) => JSON.stringify(keys.map((key) => values.get(key) ?? null)));
      const stats = await Promise.all(nodes.map((node) => node.calls.json("/api/stats")));
      const isDrained = stats.every(({ peers }) =>
        peers.links.every((link: { queue: { mutations: number } }) => link.queue.mutations === 0),
      );
      return isDrained && new Set(seen).size === 1;
    });
  } catch (cause) {
    throw new Error(`the nodes do not agree: ${seen.map((each) => each.slice(0, 300)).join(" / ")}`, { cause });
  }
  const agreed: (number | null)[] = JSON.parse(seen[0] ?? "[]");
  return new Map(keys.map((key, at) => [key, agreed[at] ?? null]));
}
