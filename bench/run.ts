import { benchBackend } from "./backend.ts";
import { benchBadPeers } from "./bad-peers.ts";
import { benchEngine } from "./engine.ts";
import { benchFailover } from "./failover.ts";
import { benchHitRatio } from "./hit-ratio.ts";
import { benchHttp } from "./http.ts";
import { benchMemory } from "./memory.ts";
import { benchPause } from "./pause.ts";
import { benchRedis } from "./redis.ts";
import { replayWeb12 } from "./replay-web12.ts";
import { benchReplication } from "./replication.ts";
import { benchStorms } from "./storms.ts";
import { MissingToolsError } from "./support/tools.ts";
import { benchTelemetry } from "./telemetry.ts";

const BENCHMARKS: Readonly<Record<string, () => Promise<void>>> = {
  http: benchHttp,
  engine: benchEngine,
  "hit-ratio": benchHitRatio,
  memory: benchMemory,
  pause: benchPause,
  storms: benchStorms,
  redis: benchRedis,
  failover: benchFailover,
  backend: benchBackend,
  telemetry: benchTelemetry,
  replication: benchReplication,
  "bad-peers": benchBadPeers,
  "replay-web12": replayWeb12,
};

const name = process.argv[2] ?? "";
const benchmark = Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined;
if (benchmark === undefined) {
  console.error(`usage: npm run bench -- NAME, where NAME is one of: ${Object.keys(BENCHMARKS).join(", ")}`);
  process.exit(2);
}
try {
  await benchmark();
} catch (error) {
  if (!(error instanceof MissingToolsError)) throw error;
  console.error(error.message);
  process.exit(1);
}
