import { type MetricFamily, single } from "./metric-family.ts";

export interface NodeState {
  readonly version: string;
  readonly engineName: string;
  readonly engineStatus: "ok" | "degraded" | "unavailable";
  readonly isReady: boolean;
  readonly uptimeMs: number;
}

/** The metric families of a node and its process as a whole. */
export function nodeFamilies(node: NodeState): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  return [
    {
      kind: "gauge",
      name: "servcache.build.info",
      unit: "{build}",
      help: "Always 1: its labels say which version runs, on which engine.",
      points: [{ attributes: { version: node.version, engine: node.engineName }, value: 1 }],
    },
    single(
      "gauge",
      "servcache.ready",
      "{node}",
      "1 where the node takes requests, as /readyz says.",
      Number(node.isReady),
    ),
    healthFamily("engine", node.engineStatus),
    single("gauge", "servcache.uptime", "s", "Time since the node started.", Math.max(0, node.uptimeMs) / 1000),
    {
      kind: "counter",
      name: "process.cpu.time",
      unit: "s",
      help: "Processor time of the process.",
      points: [
        { attributes: { "cpu.mode": "user" }, value: user / 1e6 },
        { attributes: { "cpu.mode": "system" }, value: system / 1e6 },
      ],
    },
    single("gauge", "process.memory.usage", "By", "Resident memory of the process.", process.memoryUsage.rss()),
  ];
}

export interface InFlightState {
  readonly limitBytes: number;
  readonly refusals: number;
  /** Bytes in flight by use. */
  byUse(): readonly (readonly [string, number])[];
}

/** The families of the budget for bytes in flight. */
export function inFlightFamilies(inFlight: InFlightState): MetricFamily[] {
  return [
    {
      kind: "gauge",
      name: "servcache.in_flight",
      unit: "By",
      help: "Bytes of bodies that arrive, of answers that wait to be sent, and of answers of databases and peers.",
      points: inFlight.byUse().map(([use, value]) => ({ attributes: { use }, value })),
    },
    single("gauge", "servcache.in_flight.limit", "By", "Bytes that may be in flight at one time.", inFlight.limitBytes),
    single(
      "counter",
      "servcache.in_flight.refusals",
      "{refusal}",
      "Requests and answers that had no room in it.",
      inFlight.refusals,
    ),
  ];
}

/** The health of one part: 1 for its current status, 0 for the others. */
export function healthFamily(part: string, status: NodeState["engineStatus"]): MetricFamily {
  return {
    kind: "gauge",
    name: "servcache.health",
    unit: "{part}",
    help: "1 for the status that a part of the node has, as /health says.",
    points: (["ok", "degraded", "unavailable"] as const).map((one) => ({
      attributes: { part, status: one },
      value: Number(one === status),
    })),
  };
}
