/** One HTTP thread on the memory engine, with its telemetry as the environment says, or (`off`) with none at all. */

import { loadConfig } from "../../src/config/config.ts";
import { startListener } from "../../src/node/compose.ts";
import { makeSharedParts, openEngine } from "../../src/node/shared-parts.ts";
import { openThreadTelemetry } from "../../src/node/thread-telemetry.ts";

const [mode, port = "0"] = process.argv.slice(2);
const { config } = loadConfig(["--workers=1", "--max-memory=1GiB"], process.env, { memoryBytes: 0, cores: 1 });
const shared = makeSharedParts(config, 1, null);
const { telemetry } = await openThreadTelemetry(config, shared, 0, { warn: (message) => console.error(message) });
const engine = await openEngine(config, shared, 0, { log: console.error, tracer: telemetry.tracer });
startListener(config, shared, engine, {
  hostname: "127.0.0.1",
  port: Number(port),
  reusePort: false,
  upstream: null,
  telemetry: mode === "off" ? null : telemetry,
  onError: (error) => console.error(error),
});
