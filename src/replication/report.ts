/** The state of the peers for operators, in `/health` and `/api/stats`. */
import type { PartState } from "../cache/operator-port.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { PeerLink } from "./peer-link.ts";
import type { PeerOutbox, PeerQueue } from "./peer-queue.ts";
import { destinationOf } from "./peer-rows.ts";
import type { Receiver } from "./receiver.ts";

export interface ReportParts {
  readonly links: readonly PeerLink[];
  /** The queue of each link, in the same order. */
  readonly queues: readonly PeerQueue[];
  readonly receiver: Receiver;
  readonly outbox: PeerOutbox;
  readonly scheduler: Scheduler;
  readonly maxSkewMs: number;
  readonly bootstrapState: string;
}

export function peersState(parts: ReportParts): PartState {
  const { links, receiver, scheduler, maxSkewMs, outbox } = parts;
  const problems: string[] = [];
  const { won, repairs } = receiver.stats();
  const facts: Record<string, unknown> = { conflicts_won: won, repairs };
  for (const { name, stats, unplaced } of links) {
    if (stats.state === "self") continue;
    const { pending, bytes, oldestAgeMs } = outbox.stats(destinationOf(name));
    const downMs = scheduler.nowMs() - stats.sinceMs;
    if (stats.state === "down") problems.push(`${name} is down for ${Math.round(downMs / 1000)} s: ${stats.lastError}`);
    if (stats.problem !== "") problems.push(`${name}: ${stats.problem}`);
    if (Math.abs(stats.skewMs) > maxSkewMs) {
      problems.push(`the clock of ${name} is ${Math.round(stats.skewMs / 1000)} s apart: set the clocks`);
    }
    facts[name] = {
      state: stats.state,
      since: new Date(stats.sinceMs).toISOString(),
      lag_ms: oldestAgeMs,
      pending,
      unplaced,
      queue_bytes: bytes,
      skew_ms: Math.round(stats.skewMs),
      conflicts_lost: stats.lost,
    };
  }
  if (parts.bootstrapState === "running") problems.push("the entries of a peer are still coming in");
  if (parts.bootstrapState === "late") {
    problems.push("the entries of a peer are still to come: they can be given when every node that is named was heard");
  }
  return { status: problems.length === 0 ? "ok" : "degraded", detail: problems.join("; "), facts };
}

export function peersReport({ links, queues, receiver, outbox, bootstrapState }: ReportParts): Record<string, unknown> {
  const peers = links.map(({ name, stats, session }, at) => {
    const { pending, bytes, inFlight, oldestAgeMs } = outbox.stats(destinationOf(name));
    return {
      url: name,
      node_id: session?.id ?? null,
      state: stats.state,
      since: new Date(stats.sinceMs).toISOString(),
      last_error: stats.lastError,
      lag_ms: oldestAgeMs,
      queue: { mutations: pending, bytes, in_flight: inFlight },
      sent: { mutations: stats.mutations, batches: stats.batches, bytes: stats.bytes },
      failures: stats.failures,
      conflicts_lost: stats.lost,
      refused_stamps: stats.refusedByPeer,
      values_dropped: queues[at]?.valuesDropped ?? 0,
      queue_collapses: queues[at]?.collapses ?? 0,
      skew_ms: Math.round(stats.skewMs),
    };
  });
  const { batches, mutations, repeated, won, refused, repairs, unauthorized } = receiver.stats();
  return {
    links: peers,
    received: { mutations, batches, repeated_batches: repeated, refused_stamps: refused, unauthorized },
    conflicts_won: won,
    repairs,
    bootstrap: bootstrapState,
  };
}
