import type { ConnectionOptions } from "node:tls";
import { Cluster, Redis } from "ioredis";
import { backoffMs } from "../../runtime/backoff.ts";
import { messageOf, NotConnectedError, RedisConfigError } from "./errors.ts";
import type { RedisEngineOptions } from "./options.ts";
import type { RedisAddress } from "./redis-url.ts";

/** How connections are made: one server, Sentinel, or Cluster. */
export type Topology =
  | { readonly kind: "single"; readonly client: Redis }
  | { readonly kind: "cluster"; readonly client: Cluster };

type TopologyOptions = Pick<
  RedisEngineOptions,
  "target" | "connectTimeoutMs" | "commandTimeoutMs" | "tls" | "sentinelUsername" | "sentinelPassword" | "random"
>;

const RECONNECT = { firstMs: 50, maxMs: 1000 };

/**
 * Finds out what the addresses lead to and makes a client for it. The client keeps itself connected.
 * Throws `NotConnectedError` when no address answers, `RedisConfigError` when what answers can't be used.
 */
export async function openTopology(options: TopologyOptions): Promise<Topology> {
  const { target } = options;
  if (target.sentinelName !== null) return { kind: "single", client: new Redis(sentinelOptions(options)) };
  const reasons: string[] = [];
  for (const address of target.addresses) {
    const scout = new Redis({ ...nodeOptions(options), ...address, retryStrategy: null, lazyConnect: true });
    // What `connect` rejects with is often only that the connection was closed.
    let cause: unknown = null;
    scout.on("error", (error: unknown) => {
      cause = error;
    });
    try {
      await scout.connect();
      const isCluster = /^cluster_enabled:1/m.test(await scout.info("cluster"));
      if (!isCluster) return { kind: "single", client: new Redis({ ...nodeOptions(options), ...address }) };
      return { kind: "cluster", client: openCluster(options) };
    } catch (error) {
      if (error instanceof RedisConfigError) throw error;
      reasons.push(`${address.host}:${address.port}: ${reasonOf(cause ?? error)}`);
    } finally {
      scout.disconnect();
    }
  }
  throw new NotConnectedError(`no server answers (${reasons.join("; ")})`);
}

/** A connection of its own to one node, that speaks RESP2 and doesn't reconnect: for subscriptions. */
export function openSubscriber(options: TopologyOptions, address: RedisAddress): Redis {
  return new Redis({
    ...nodeOptions(options),
    ...address,
    protocol: 2,
    retryStrategy: null,
    lazyConnect: true,
    autoResubscribe: false,
  });
}

/** Where a connected client of one node is connected to. */
export function addressOf(client: Redis): RedisAddress {
  const { stream } = client;
  return {
    host: stream?.remoteAddress ?? client.options.host ?? "",
    port: stream?.remotePort ?? client.options.port ?? 0,
  };
}

function openCluster(options: TopologyOptions): Cluster {
  if (options.target.database !== 0) {
    throw new RedisConfigError("a Redis Cluster has only database 0; remove the database from REDIS_URL");
  }
  const { retryStrategy, enableOfflineQueue: _, ...redisOptions } = nodeOptions(options);
  const cluster = new Cluster([...options.target.addresses], {
    redisOptions,
    clusterRetryStrategy: retryStrategy,
    // A command to a node that has just come, or has just been promoted, waits for the connection to it, for as long as
    // its caller does. Without the queue it would fail.
    enableOfflineQueue: true,
    // A server that hangs is asked like any other: the next one is to have its turn soon.
    slotsRefreshTimeout: options.commandTimeoutMs,
    // Delayed retries happen in `client.ts`, where they end with the caller's timeout: a write that the client sent
    // again after its caller had given up could undo a newer one.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 20,
    dnsLookup: (host, done) => done(null, host),
  });
  // The client leaves a node at once that has no slots any more, and with it what is under way there. Its replies, which
  // say where the slots are now, are still worth a command's time.
  cluster.on("+node", (node: Redis) => {
    const { disconnect } = node;
    node.disconnect = () => void setTimeout(() => disconnect.call(node), options.commandTimeoutMs).unref();
  });
  return cluster;
}

function sentinelOptions(options: TopologyOptions) {
  const tls = tlsOptions(options);
  return {
    ...nodeOptions(options),
    sentinels: [...options.target.addresses],
    name: options.target.sentinelName ?? "",
    role: "master" as const,
    failoverDetector: true,
    sentinelCommandTimeout: options.connectTimeoutMs,
    sentinelRetryStrategy: (attempt: number) => backoffMs(attempt, { ...RECONNECT, random: options.random }),
    ...(tls === null ? {} : { enableTLSForSentinelMode: true, sentinelTLS: tls }),
    ...(options.sentinelUsername === null ? {} : { sentinelUsername: options.sentinelUsername }),
    ...(options.sentinelPassword === null ? {} : { sentinelPassword: options.sentinelPassword }),
  };
}

function nodeOptions(options: TopologyOptions) {
  const { target, random } = options;
  const tls = tlsOptions(options);
  return {
    db: target.database,
    connectTimeout: options.connectTimeoutMs,
    // What a server that hangs has not said in a command's time nobody waits for: the next connection is made then.
    disconnectTimeout: options.commandTimeoutMs,
    connectionName: "servcache",
    // Nothing waits inside the client: what can't be sent or loses its connection fails at once, and the engine decides.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (attempt: number) => backoffMs(attempt, { ...RECONNECT, random }),
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    ...(target.username === null ? {} : { username: target.username }),
    ...(target.password === null ? {} : { password: target.password }),
    ...(tls === null ? {} : { tls }),
  };
}

function tlsOptions({ target, tls }: TopologyOptions): ConnectionOptions | null {
  if (!target.tls) return null;
  return {
    rejectUnauthorized: tls.verify,
    ...(tls.ca === null ? {} : { ca: tls.ca }),
    ...(tls.cert === null ? {} : { cert: tls.cert }),
    ...(tls.key === null ? {} : { key: tls.key }),
    ...(tls.serverName === null ? {} : { servername: tls.serverName }),
  };
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return messageOf(error) + cause;
}
