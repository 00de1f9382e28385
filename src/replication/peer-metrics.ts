/** The metric families of the peers. */
import type { MetricFamily, MetricPoint, NumberFamily } from "../telemetry/metric-family.ts";
import type { PeerLink } from "./peer-link.ts";
import type { ReportParts } from "./report.ts";

export function peersFamilies({ links, queues, receiver }: ReportParts): MetricFamily[] {
  const peers = links.filter(({ stats }) => stats.state !== "self");
  const family = (
    ...[kind, name, unit, help, of]: [
      NumberFamily["kind"],
      string,
      string,
      string,
      (link: PeerLink, at: number) => number,
    ]
  ): NumberFamily => {
    const points = peers.map((link) => ({ attributes: peerOf(link), value: of(link, links.indexOf(link)) }));
    return { kind, name: `servcache.peer.${name}`, unit, help, points };
  };
  const received = receiver.stats();
  const single = (name: string, unit: string, help: string, value: number): NumberFamily => ({
    ...{ kind: "counter" as const, name: `servcache.replication.${name}`, unit, help },
    points: [{ attributes: {}, value }],
  });
  return [
    family("gauge", "up", "{peer}", "1 where the peer is reached.", ({ stats }) =>
      Number(stats.state === "up" || stats.state === "legacy"),
    ),
    family("gauge", "clock.skew", "s", "How far the peer's clock is ahead.", ({ stats }) => stats.skewMs / 1000),
    family("counter", "sent", "{mutation}", "Mutations that the peer has taken.", ({ stats }) => stats.mutations),
    family("counter", "batches", "{batch}", "Batches that the peer has taken.", ({ stats }) => stats.batches),
    family("counter", "io", "By", "Bytes that were sent to the peer.", ({ stats }) => stats.bytes),
    family("counter", "failures", "{call}", "Calls of the peer that failed.", ({ stats }) => stats.failures),
    family("counter", "conflicts_lost", "{mutation}", "Mutations that met something newer.", ({ stats }) => stats.lost),
    family(
      "counter",
      "queue_collapses",
      "{queue}",
      "Queues that grew too long and were cut short.",
      (_, at) => queues[at]?.collapses ?? 0,
    ),
    family(
      "counter",
      "values_dropped",
      "{mutation}",
      "Mutations that went without their values: too much waited.",
      (_, at) => queues[at]?.valuesDropped ?? 0,
    ),
    single("received", "{mutation}", "Mutations that came from peers.", received.mutations),
    single("conflicts_won", "{mutation}", "Mutations of peers that lost against something newer.", received.won),
    single("refused", "{mutation}", "Mutations with stamps too far in the future.", received.refused),
    single("repairs", "{entry}", "Entries that were found to differ and set right.", received.repairs),
  ];
}

/** Host and port only, because URLs may contain more than metrics should show. */
function peerOf({ name }: PeerLink): MetricPoint["attributes"] {
  return { peer: URL.canParse(name) ? new URL(name).host : name };
}
