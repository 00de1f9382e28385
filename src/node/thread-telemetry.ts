/** What one thread counts and traces. */

import manifest from "../../package.json";
import type { Config } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { ThreadTelemetry } from "../telemetry/node-telemetry.ts";
import { RequestCounts } from "../telemetry/request-counts.ts";
import { type NodeIdentity, openTracing, type Tracing } from "../telemetry/trace/open-tracing.ts";
import type { SharedParts } from "./shared-parts.ts";

export interface OpenTelemetry {
  readonly telemetry: ThreadTelemetry;
  /** Sends what waits, for a moment at most: nobody waits long for a collector that is away. */
  close(): Promise<void>;
}

const CLOSE_MS = 1_000;

export async function openThreadTelemetry(
  config: Config,
  shared: SharedParts,
  thread: number,
  log: Pick<Log, "warn">,
): Promise<OpenTelemetry> {
  const { keys, otel } = config.telemetry;
  const tracing: Tracing | null =
    otel.traces === null
      ? null
      : await openTracing({
          target: otel.traces,
          sampler: otel.sampler,
          spans: otel.spans,
          keys,
          node: identityOf(shared),
          counts: new RequestCounts(shared.telemetry.requests, thread),
          onFailure: (message) => log.warn(message),
          random: Math.random,
        });
  return {
    telemetry: new ThreadTelemetry(shared.telemetry, thread, Math.random, tracing?.tracer ?? null),
    close: () => (tracing === null ? Promise.resolve() : withinMs(CLOSE_MS, tracing.close())),
  };
}

export function identityOf(shared: SharedParts): NodeIdentity {
  return { version: manifest.version, instanceId: shared.instanceId };
}

export async function withinMs(ms: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, over]);
  clearTimeout(timer);
}
