/**
 * Replays the trace web12 over HTTP: a key per number, GET, and POST on a miss. Shows the hit ratio as the client counts
 * it and as the node does.
 *
 *   bun bench/replay-web12.ts [URL of a node that runs; without it, one is started]
 */
import { lru } from "./simulators/lru.ts";
import { hitRatio } from "./simulators/policy.ts";
import { withBench } from "./support/process.ts";
import { nodeStats, startNode } from "./support/servcache.ts";
import { count, markdownTable } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { loadTrace, TRACE_FILES, traceFolder } from "./support/traces.ts";

const LIMIT_BYTES = 256 * 1024 ** 2;
const VALUE = "v".repeat(100);

if (import.meta.main) {
  const url = process.argv[2];
  if (url !== undefined) await replay(url.replace(/\/$/, ""));
  else await replayWeb12();
}

/** Starts a node, replays, and stops it. */
export async function replayWeb12(): Promise<void> {
  await withBench(async (bench) => {
    const node = await startNode(bench, { core: null, workers: 1, limitBytes: LIMIT_BYTES });
    await replay(`http://127.0.0.1:${node.port}`);
  });
}

async function replay(url: string): Promise<void> {
  await requireTools(["xz"]);
  const folder = traceFolder();
  const trace = TRACE_FILES.find(({ name }) => name === "web12");
  if (folder === null || trace === undefined) {
    throw new Error(
      "the traces are missing: put them into ../shared/traces, or name their folder in SERV_CACHE_TRACES",
    );
  }
  const requests = loadTrace(trace, folder);
  const before = await nodeStats(url);
  const startMs = performance.now();
  let hits = 0;
  for (const number of requests.keys) if (await request(url, `web12:${number}`)) hits++;
  const seconds = (performance.now() - startMs) / 1000;
  const after = await nodeStats(url);
  const all = requests.keys.length;
  const nodeHits = after.hits - before.hits;
  const nodeMisses = after.misses - before.misses;
  const unlimited = hitRatio(lru, requests.distinct, requests);
  console.log(
    `web12: ${count(all)} requests for ${count(requests.distinct)} keys, one after the other, in ${seconds.toFixed(1)} s\n`,
  );
  console.log(
    markdownTable(
      ["counted by", "hits", "misses", "hit ratio"],
      [
        ["client", count(hits), count(all - hits), (hits / all).toFixed(4)],
        ["/api/stats", count(nodeHits), count(nodeMisses), (nodeHits / (nodeHits + nodeMisses)).toFixed(4)],
        ["a cache without a limit", "", "", unlimited.toFixed(4)],
      ],
    ),
  );
}

/** True = a hit. */
async function request(url: string, key: string): Promise<boolean> {
  const got = await fetch(`${url}/api/cache/${key}`);
  await got.arrayBuffer();
  if (got.status === 200) return true;
  if (got.status !== 404) throw new Error(`GET ${key} was answered ${got.status}`);
  const post = await fetch(`${url}/api/cache`, { method: "POST", body: JSON.stringify({ key, value: VALUE }) });
  await post.arrayBuffer();
  if (post.status !== 200) throw new Error(`POST ${key} was answered ${post.status}`);
  return false;
}
