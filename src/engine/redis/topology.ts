import type { ConnectionOptions } from "node:tls";
import { Cluster, Redis } from "ioredis";
import { backoffMs } from "../../runtime/backoff.ts";
import { NotConnectedError, problemOf, RedisConfigError } from "./errors.ts";
import type { RedisEngineOptions } from "./options.ts";
import type { RedisAddress } from "./redis-url.ts";

/** The kind of connection: one server, Sentinel, or Cluster. */
export type Topology =
  | { readonly kind: "single"; readonly client: Redis }
  | { readonly kind: "cluster"; readonly client: Cluster };

type TopologyOptions = Pick<
  RedisEngineOptions,
  "target" | "connectTimeoutMs" | "commandTimeoutMs" | "tls" | "sentinelUsername" | "sentinelPassword" | "random"
>;

const RECONNECT = { firstMs: 50, maxMs: 1000 };

/**
 * Detects what the addresses lead to and creates a client for it, which reconnects by itself. Throws
 * `NotConnectedError` if no address answers, `RedisConfigError` if the servers can't be used as configured.
 */
export async function openTopology(options: TopologyOptions): Promise<Topology> {
  const { target } = options;
  if (target.sentinelName !== null) return { kind: "single", client: new Redis(sentinelOptions(options)) };
  const reasons: string[] = [];
  for (const address of target.addresses) {
    const scout = new Redis({ ...nodeOptions(options), ...address, retryStrategy: null, lazyConnect: true });
    // `connect` often rejects only with the message that the connection was closed.
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

/** A separate RESP2 connection to one node, without reconnects: for subscriptions. */
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

/** The address to which the client of a node is connected. */
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
    // A command to a new or newly promoted node waits for the connection, for as long as its caller waits. Without the
    // queue it would fail.
    enableOfflineQueue: true,
    // A hanging server is skipped after the same time, so that the next one is asked soon.
    slotsRefreshTimeout: options.commandTimeoutMs,
    // Delayed retries happen in `client.ts`, where they end with the caller's timeout: a write that the client sent
    // again after its caller had given up could overwrite a newer one.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 20,
    dnsLookup: (host, done) => done(null, host),
  });
  // The client drops a node without slots at once, with the commands in flight there. Their replies, which say where
  // the slots are now, are worth waiting for, for one command timeout.
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
    // After a command timeout, a hanging server is not waited for any longer: the next connection is opened.
    disconnectTimeout: options.commandTimeoutMs,
    connectionName: "servcache",
    // Commands do not queue inside the client: one that can't be sent, or loses its connection, fails at once, and the
    // engine decides.
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
  return problemOf(error) + cause;
}
