import { join } from "node:path";
import { quietPort } from "../test/support/free-port.ts";
import { type Bench, LOAD_CORE, SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { fill, jsonValue } from "./support/servcache.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { type Load, runWrk } from "./support/wrk.ts";

const KEYS = 100_000;
const CONNECTIONS = 32;
const ROUNDS = 7;
/** What only one request in a hundred goes through is compiled late. */
const WARM_UP_SECONDS = 12;
const SECONDS_PER_RUN = 2;
const MIB = 1024 ** 2;

interface Variant {
  readonly name: string;
  readonly mode: "off" | "on";
  /** Of the sampler; null = nothing is exported. */
  readonly sampled: number | null;
  /** What the issue asks for, against the first variant. */
  readonly atLeast: number | null;
}

const VARIANTS: readonly Variant[] = [
  { name: "without telemetry", mode: "off", sampled: null, atLeast: null },
  { name: "metrics, no exporter", mode: "on", sampled: null, atLeast: 0.97 },
  { name: "OTLP, parent-based, 1 %", mode: "on", sampled: 0.01, atLeast: 0.9 },
  { name: "OTLP, every request", mode: "on", sampled: 1, atLeast: 0.35 },
];

const GET_HIT: Load = {
  name: "GET hit",
  mix: [{ percent: 100, shape: { method: "GET", path: "/api/cache/key:%06d", variants: KEYS } }],
  connections: CONNECTIONS,
  keys: KEYS,
  expect: "success",
};

/** GET hits per CPU-second with telemetry, against the same build with none in the path; the variants take turns. */
export async function benchTelemetry(): Promise<void> {
  await requireTools(["wrk", "taskset"]);
  await withBench(async (bench) => {
    const sink = await startScript(bench, "collector", "otlp-sink.ts", [], {}, LOAD_CORE);
    const servers = await Promise.all(VARIANTS.map((variant) => startVariant(bench, variant, sink.port)));
    for (const { port } of servers) {
      const keyOf = (index: number) => `key:${String(index).padStart(6, "0")}`;
      await fill(port, { count: KEYS, keyOf, valueJson: jsonValue(250), expiresAtMs: null, pauseMs: 0 });
    }
    for (const server of servers) await runWrk(bench, [server], server.port, GET_HIT, WARM_UP_SECONDS);
    const rates = servers.map((): number[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [index, server] of servers.entries()) {
        const { requests, cpuSeconds } = await runWrk(bench, [server], server.port, GET_HIT, SECONDS_PER_RUN);
        rates[index]?.push(requests / cpuSeconds);
      }
    }
    console.log(
      `GET hits, ${count(KEYS)} keys, 250-byte values, ${CONNECTIONS} connections; one thread on core ${SERVER_CORE}; ` +
        `median of ${ROUNDS} runs of ${SECONDS_PER_RUN} s in turns, and of the ratios of each turn.\n`,
    );
    const rows = await Promise.all(VARIANTS.map((variant, index) => row(variant, rates, index, servers[index])));
    console.log(
      markdownTable(
        ["telemetry", "hits per CPU-second", "ratio", "at least", "spans exported", "dropped", "MiB"],
        rows,
      ),
    );
  });
}

async function row(
  ...[{ name, atLeast }, rates, index, server]: [
    Variant,
    readonly (readonly number[])[],
    number,
    ServerProcess | undefined,
  ]
): Promise<string[]> {
  const own = rates[index] ?? [];
  const share = median(own.map((rate, round) => rate / (rates[0]?.[round] ?? Number.NaN)));
  const wanted = atLeast === null ? "" : `${atLeast} x: ${share >= atLeast ? "reached" : "MISSED"}`;
  const metrics = await (await fetch(`http://127.0.0.1:${server?.port}/metrics`)).text();
  const spans = (outcome: string) => /\d+$/.exec(lineOf(metrics, `servcache_spans_total{outcome="${outcome}"}`))?.[0];
  const residentMib = (server?.residentBytes() ?? 0) / MIB;
  return [
    name,
    count(median(own)),
    ratio(share),
    wanted,
    spans("exported") ?? "",
    spans("dropped") ?? "",
    count(residentMib),
  ];
}

function lineOf(text: string, start: string): string {
  return text.split("\n").find((line) => line.startsWith(start)) ?? "";
}

function startVariant(bench: Bench, { name, mode, sampled }: Variant, sinkPort: number): Promise<ServerProcess> {
  const env =
    sampled === null
      ? {}
      : {
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sinkPort}`,
          OTEL_METRICS_EXPORTER: "none",
          OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
          OTEL_TRACES_SAMPLER_ARG: String(sampled),
        };
  return startScript(bench, name, "telemetry-node.ts", [mode], env, SERVER_CORE);
}

function startScript(
  ...[bench, name, script, args, env, core]: [
    Bench,
    string,
    string,
    readonly string[],
    Readonly<Record<string, string>>,
    number,
  ]
): Promise<ServerProcess> {
  const port = quietPort();
  const command = [process.execPath, join(import.meta.dirname, "support", script), ...args, String(port)];
  return bench.start({ name: name.replaceAll(/\W+/g, "-"), command, core, env, port });
}
