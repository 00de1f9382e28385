import { quietPort } from "../test/support/free-port.ts";
import { callOfOriginal, headOfPost } from "../test/support/original-calls.ts";
import { startTcpProxy } from "../test/support/tcp-proxy.ts";
import { type Bench, LOAD_CORE, SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { fill, jsonValue, nodeStats, startNode } from "./support/servcache.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { type Load, runWrk } from "./support/wrk.ts";

const KEYS = 100_000;
const CONNECTIONS = 32;
const ROUNDS = 3;
/** Until hardly anything is compiled any more. */
const WARM_UP_SECONDS = 10;
const SECONDS_PER_RUN = 3;
const VALUE = jsonValue(100);
const LIMIT_BYTES = 1024 ** 3;
const WAITING_MUTATIONS = Number(process.env.SERV_CACHE_BENCH_ROWS ?? 1_000_000);
const WRITES_PER_SECOND = 20_000;
const SETS_PER_CALL = 50;
const WIRE_PUTS = 20_000;
const LAG_SECONDS = 10;
const PROBE_EVERY_MS = 25;
const DRAIN_LIMIT_MS = 180_000;

/** What replication costs the writer, how far peers are behind, and how fast one that was away catches up. */
export async function benchReplication(): Promise<void> {
  await requireTools(["wrk", "taskset"]);
  await withBench(async (bench) => {
    await benchWriter(bench);
    await benchWire(bench);
    await benchLag(bench);
    await benchCatchUp(bench);
  });
}

interface Mesh {
  readonly writer: ServerProcess;
  readonly peers: readonly ServerProcess[];
  stop(): Promise<void>;
}

/** A writer and its peers, which have met. `urlOf` may lead the writer's calls elsewhere. */
async function startMesh(
  bench: Bench,
  peerCount: number,
  env: Record<string, string> = {},
  urlOf: (port: number) => string | Promise<string> = (port) => `http://127.0.0.1:${port}`,
): Promise<Mesh> {
  const [writerPort = 0, ...peerPorts] = Array.from({ length: peerCount + 1 }, () => quietPort());
  const start = (port: number, core: number, peers: readonly string[]) =>
    startNode(bench, {
      ...{ core, workers: 1, limitBytes: LIMIT_BYTES, port },
      env: peers.length === 0 ? env : { SERV_CACHE_PEERS: peers.join(","), SERV_CACHE_PEER_COMPARE: "off", ...env },
    });
  const direct = (port: number) => `http://127.0.0.1:${port}`;
  const peers = await Promise.all(
    peerPorts.map((port) => {
      const others = [writerPort, ...peerPorts].filter((other) => other !== port).map(direct);
      return start(port, LOAD_CORE, others);
    }),
  );
  const writer = await start(writerPort, SERVER_CORE, await Promise.all(peerPorts.map(urlOf)));
  if (peerCount > 0) await untilMet([writer, ...peers]);
  return {
    writer,
    peers,
    async stop() {
      for (const node of [writer, ...peers]) await node.stop();
    },
  };
}

async function benchWriter(bench: Bench): Promise<void> {
  console.log(
    `POST of ${VALUE.length}-byte values to ${count(KEYS)} keys, ${CONNECTIONS} connections, node of one thread on core ` +
      `${SERVER_CORE}, load and peers on another; median of ${ROUNDS} interleaved runs of ${SECONDS_PER_RUN} s. CPU time is ` +
      "counted until nothing waits for the peers any more.\n",
  );
  const perCpu = new Map<number, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const peerCount of [0, 1, 2]) {
      const { writer, stop } = await startMesh(bench, peerCount);
      await runWrk(bench, [writer], writer.port, postLoad(), WARM_UP_SECONDS);
      await drained(writer);
      const before = writer.cpuSeconds();
      const run = await runWrk(bench, [writer], writer.port, postLoad(), SECONDS_PER_RUN);
      await drained(writer);
      perCpu.set(peerCount, [...(perCpu.get(peerCount) ?? []), run.requests / (writer.cpuSeconds() - before)]);
      await stop();
    }
  }
  const alone = median(perCpu.get(0) ?? []);
  const rows = [...perCpu].map(([peerCount, values]) => {
    const share = median(values) / alone;
    const wanted = peerCount === 1 ? `0.5 x: ${share >= 0.5 ? "reached" : "MISSED"}` : "";
    return [String(peerCount), count(median(values)), ratio(share), wanted];
  });
  console.log(`### The writer\n\n${markdownTable(["peers", "POSTs per CPU-second", "÷ alone", "at least"], rows)}\n`);
}

async function benchWire(bench: Bench): Promise<void> {
  const { writer, stop } = await startMesh(bench, 1);
  for (let first = 0; first < WIRE_PUTS; first += SETS_PER_CALL) {
    const operations = Array.from({ length: SETS_PER_CALL }, (_, at) => {
      return `{"op":"set","key":"${keyOf(first + at)}","value":${unlikeOthers(first + at)}}`;
    });
    const body = `{"operations":[${operations.join(",")}]}`;
    await (await fetch(`http://127.0.0.1:${writer.port}/api/batch`, { method: "POST", body })).arrayBuffer();
  }
  await drained(writer);
  const [link] = await linksOf(writer);
  await stop();
  if (link === undefined) throw new Error("the writer has one peer");
  const { bytes, batches, mutations } = link.sent;
  const heads = batches * headOfPost("/api/replication", Math.round(bytes / batches)).length;
  const ours = (bytes + heads) / mutations;
  const theirs = callOfOriginal(keyOf(0), unlikeOthers(0)).length;
  const isReached = ours <= theirs / 3;
  const row = [count(mutations / batches), ours.toFixed(0), String(theirs), ratio(ours / theirs)];
  console.log(
    `### Bytes on the way to a peer per put of ${VALUE.length} bytes of random text, heads of requests included\n\n` +
      `${markdownTable(
        ["puts in a batch", "bytes", "the original's form", "share", "at most"],
        [[...row, `1/3: ${isReached ? "reached" : "MISSED"}`]],
      )}\n`,
  );
}

/** A JSON value in which nothing repeats: what compresses worst. */
function unlikeOthers(index: number): string {
  const words = Array.from({ length: 10 }, (_, at) => Bun.hash.wyhash(`${index} ${at}`).toString(36));
  return JSON.stringify(words.join("").slice(0, VALUE.length - 2));
}

async function benchLag(bench: Bench): Promise<void> {
  const rows: string[][] = [];
  for (const delayMs of [0, 100]) {
    const proxies: Awaited<ReturnType<typeof startTcpProxy>>[] = [];
    const urlOf = async (port: number) => {
      if (delayMs === 0) return `http://127.0.0.1:${port}`;
      const proxy = await startTcpProxy(port);
      proxy.mode = { kind: "delay", ms: delayMs };
      proxies.push(proxy);
      return `http://127.0.0.1:${proxy.port}`;
    };
    const mesh = await startMesh(bench, 2, {}, urlOf);
    const writes = startWrites(mesh.writer.port);
    const lagsMs = await probe(mesh);
    const written = await writes.stop();
    const sorted = lagsMs.sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    const isReached = at(0.5) <= 20 && at(0.99) <= 100;
    rows.push([
      delayMs === 0 ? "loopback" : `+ ${delayMs} ms each way`,
      count(written / LAG_SECONDS),
      at(0.5).toFixed(1),
      at(0.99).toFixed(1),
      delayMs === 0 ? `20 and 100 ms: ${isReached ? "reached" : "MISSED"}` : "",
    ]);
    await mesh.stop();
    for (const proxy of proxies) proxy[Symbol.dispose]();
  }
  console.log(
    `### Lag of 2 peers, in ms, from the answer to the writer's client to the peer's answer with the value\n\n` +
      `${markdownTable(["way", "writes/s", "p50", "p99", "at most"], rows)}\n`,
  );
}

/** Writes at a steady rate, in batches; `stop` gives how many there were. */
function startWrites(port: number): { stop(): Promise<number> } {
  const pending = new Set<Promise<unknown>>();
  let next = 0;
  let written = 0;
  const startMs = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - startMs) / 1000) * WRITES_PER_SECOND;
    while (next < due && pending.size < 64) {
      const operations = Array.from({ length: SETS_PER_CALL }, () => {
        const key = keyOf(next++ % KEYS);
        return `{"op":"set","key":"${key}","value":${VALUE}}`;
      });
      const call = fetch(`http://127.0.0.1:${port}/api/batch`, {
        method: "POST",
        body: `{"operations":[${operations.join(",")}]}`,
      }).then(async (answer) => {
        await answer.arrayBuffer();
        if (answer.status === 200) written += SETS_PER_CALL;
      });
      pending.add(call);
      void call.finally(() => pending.delete(call));
    }
  }, 2);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
      return written;
    },
  };
}

async function probe({ writer, peers }: Mesh): Promise<number[]> {
  const lagsMs: number[] = [];
  const endMs = performance.now() + LAG_SECONDS * 1000;
  for (let number = 0; performance.now() < endMs; number++) {
    const key = `probe:${number}`;
    const body = JSON.stringify({ key, value: number });
    await (await fetch(`http://127.0.0.1:${writer.port}/api/cache`, { method: "POST", body })).arrayBuffer();
    const answeredMs = performance.now();
    await Promise.all(
      peers.map(async (peer) => {
        while (performance.now() - answeredMs < 10_000) {
          const answer = await fetch(`http://127.0.0.1:${peer.port}/api/cache/${key}`);
          await answer.arrayBuffer();
          if (answer.status === 200) break;
          await Bun.sleep(1);
        }
        lagsMs.push(performance.now() - answeredMs);
      }),
    );
    await Bun.sleep(PROBE_EVERY_MS);
  }
  return lagsMs;
}

async function benchCatchUp(bench: Bench): Promise<void> {
  const env = { SERV_CACHE_OUTBOX_MAX: "8GiB", SERV_CACHE_PEER_QUEUE: "4GiB", SERV_CACHE_PEER_QUEUE_KEYS: "10000000" };
  const ways: Awaited<ReturnType<typeof startTcpProxy>>[] = [];
  const { writer, peers, stop } = await startMesh(bench, 1, env, async (port) => {
    const way = await startTcpProxy(port);
    ways.push(way);
    return `http://127.0.0.1:${way.port}`;
  });
  const [gate] = ways;
  if (gate === undefined) throw new Error("the way to the peer was not made");
  gate.mode = { kind: "refuse" };
  gate.cut();
  await fill(writer.port, { count: WAITING_MUTATIONS, keyOf, valueJson: VALUE, expiresAtMs: null, pauseMs: 0 });
  const waiting = await pendingOf(writer);
  gate.mode = { kind: "pass" };
  await untilMet([writer]);
  const startMs = performance.now();
  const startWaiting = await pendingOf(writer);
  await drained(writer);
  const seconds = (performance.now() - startMs) / 1000;
  const rate = startWaiting / seconds;
  const { entries } = await nodeStats(`http://127.0.0.1:${peers[0]?.port}`);
  console.log(
    `### A peer that was away while ${count(waiting)} mutations came to wait\n\n` +
      `${markdownTable(
        ["mutations", "seconds", "mutations/s", "at least", "entries there"],
        [
          [
            count(startWaiting),
            seconds.toFixed(1),
            count(rate),
            `50,000: ${rate >= 50_000 ? "reached" : "MISSED"}`,
            count(entries),
          ],
        ],
      )}\n`,
  );
  await stop();
  gate[Symbol.dispose]();
}

interface PeerStats {
  readonly state: string;
  readonly queue: { readonly mutations: number };
  readonly sent: { readonly bytes: number; readonly batches: number; readonly mutations: number };
}

async function linksOf(node: ServerProcess): Promise<PeerStats[]> {
  const stats: { peers?: { links: PeerStats[] } } = JSON.parse(
    await (await fetch(`http://127.0.0.1:${node.port}/api/stats`, { headers: { connection: "close" } })).text(),
  );
  return stats.peers?.links ?? [];
}

async function pendingOf(node: ServerProcess): Promise<number> {
  return (await linksOf(node)).reduce((sum, { queue }) => sum + queue.mutations, 0);
}

async function untilMet(nodes: readonly ServerProcess[]): Promise<void> {
  const deadlineMs = Date.now() + DRAIN_LIMIT_MS;
  for (const node of nodes) {
    // A node that is about to start checks its port, and closes who came so early.
    const links = () => linksOf(node).catch(() => null);
    for (let seen = await links(); seen?.every(({ state }) => state === "up") !== true; seen = await links()) {
      if (Date.now() > deadlineMs) throw new Error("the nodes did not meet in time");
      await Bun.sleep(20);
    }
  }
}

/** Until nothing waits for the peers. */
async function drained(node: ServerProcess): Promise<void> {
  const deadlineMs = Date.now() + DRAIN_LIMIT_MS;
  while ((await pendingOf(node)) > 0) {
    if (Date.now() > deadlineMs) throw new Error("the peers did not get everything in time");
    await Bun.sleep(20);
  }
}

function postLoad(): Load {
  const item = `{"key":"key:%06d","value":${VALUE}}`;
  const body = { prefix: "", item, items: 1, separator: "", suffix: "" };
  const shape = { method: "POST", path: "/api/cache", body, variants: KEYS } as const;
  return { name: "POST", mix: [{ percent: 100, shape }], connections: CONNECTIONS, keys: KEYS, expect: "success" };
}

function keyOf(index: number): string {
  return `key:${String(index).padStart(6, "0")}`;
}
