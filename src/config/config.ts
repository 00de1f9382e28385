/** Turns environment and flags into one validated `Config`. */

import type { Address } from "./address.ts";
import { ConfigError } from "./errors.ts";
import { type FlagValues, readFlags } from "./flags.ts";
import { divideProcessMemory, type MemoryDivision } from "./memory-division.ts";
import { type Machine, type Option, variablesOf } from "./option.ts";
import { options } from "./options.ts";
import { type OtelConfig, readOtelEnvironment } from "./otel-environment.ts";
import { openAddress, unknownVariables, withoutEffect } from "./warnings.ts";

/** The configuration of one node. Plain data, so that it can be sent to threads. */
export interface Config {
  readonly address: Address;
  readonly memory: MemoryDivision;
  readonly workers: number;
  /** Null = writes without a TTL never expire. */
  readonly defaultTtlMs: number | null;
  readonly shutdownGraceMs: number;
  /** Per HTTP thread. */
  readonly maxConnections: number;
  readonly idleTimeoutMs: number;
  /** Whether entries with a TTL are answered with `max-age`. */
  readonly httpMaxAge: boolean;
  /** Null = the memory engine stores the entries. */
  readonly redis: RedisConfig | null;
  /** Null = no database behind the cache. */
  readonly backend: BackendConfig | null;
  /** Null = no peers. */
  readonly peers: PeersConfig | null;
  readonly outbox: OutboxConfig;
  readonly telemetry: TelemetryConfig;
}

/** The database behind the cache. Certificates are given as file paths and not read here. */
export interface BackendConfig {
  readonly url: string;
  readonly table: string;
  readonly readSql: string | null;
  readonly writeSql: string | null;
  readonly deleteSql: string | null;
  /** Globs; empty = all keys. */
  readonly keys: readonly string[];
  readonly deletes: boolean;
  /** Batch endpoint of an HTTP backend; null = one call per write. */
  readonly batchPath: string | null;
  /** Whether an HTTP backend's `text/html` is accepted as a value. */
  readonly allowsHtml: boolean;
  readonly caFile: string | null;
  readonly timeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly connections: number;
  readonly writeConnections: number;
  /** 0 = loaded values never expire. */
  readonly fillTtlMs: number;
  readonly negativeTtlMs: number;
  /** 0 = off. */
  readonly staleIfErrorMs: number;
  /** Null = a share of the memory for entries. */
  readonly staleMemoryBytes: number | null;
  /** Share of the fill TTL; 0 = off. */
  readonly refreshAhead: number;
  readonly writeMode: "behind" | "through" | "none";
  /** Whether an entry is reloaded from the database as soon as it was written there. */
  readonly reloadsWrites: boolean;
  readonly writeDelayMs: number;
  readonly writeBatchRows: number;
  readonly writeAttempts: number;
}

/** The other nodes, and the settings of replication. */
export interface PeersConfig {
  /** Without a trailing slash. */
  readonly urls: readonly string[];
  /** Null = peers are recognised by their addresses. */
  readonly token: string | null;
  /** Globs; empty = all keys. */
  readonly keys: readonly string[];
  readonly maxSkewMs: number;
  readonly tombstoneMs: number;
  readonly bootstrap: "none" | "peer";
  readonly bootstrapTimeoutMs: number;
  /** 0 = never. */
  readonly compareEveryMs: number;
  readonly queueLimitBytes: number;
  readonly queueLimitKeys: number;
  /** 0 = no limit. */
  readonly bytesPerSecond: number;
}

interface TelemetryConfig {
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
  /** How traces show cache keys. */
  readonly keys: "on" | "hashed" | "off";
  readonly sqlComments: boolean;
  /** Buckets of the histograms in `/metrics`. */
  readonly metricsBuckets: "full" | "few";
  readonly otel: OtelConfig;
}

/** The outbox; used only with a backend or peers. */
interface OutboxConfig {
  readonly limitBytes: number;
  readonly sync: "normal" | "full";
  readonly drainTimeoutMs: number;
  readonly dataDirectory: string;
  /** Null = the id that is stored in the data directory. */
  readonly nodeId: number | null;
}

/** The connection to Redis. Certificates are given as file paths and not read here. */
export interface RedisConfig {
  readonly url: string;
  readonly prefix: string;
  /** Null = no near cache. */
  readonly nearCacheBytes: number | null;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  /** How long the near cache may serve stale values while Redis is away; 0 = not at all. */
  readonly staleIfErrorMs: number;
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly serverName: string | null;
  readonly tlsVerify: boolean;
  readonly sentinelUser: string | null;
  readonly sentinelPassword: string | null;
}

export interface LoadedConfig {
  readonly config: Config;
  /** One line each, written to standard error. */
  readonly warnings: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Loads the configuration. A flag overrides its variable; an empty variable counts as not set. Throws `ConfigError`
 * with one line that names the invalid value.
 */
export function loadConfig(args: readonly string[], env: Environment, machine: Machine): LoadedConfig {
  const flags = readFlags(args);
  const read = <T>(option: Option<T>): T => readOption(option, flags, env, machine);
  const { otel, warnings } = readOtelEnvironment(env, read(options.otlpEndpoint));
  const workers = read(options.workers);
  const redis = redisConfig(read);
  const backend = backendConfig(read);
  const peers = peersConfig(read);
  const config: Config = {
    address: read(options.address),
    memory: divideProcessMemory({
      limitBytes: read(options.maxMemoryBytes),
      entryBytes: read(options.entryMemoryBytes),
      workers,
      hasBackend: backend !== null,
      hasPeers: peers !== null,
      keepsStale: backend !== null && backend.staleIfErrorMs > 0,
      redis,
    }),
    workers,
    defaultTtlMs: read(options.defaultTtlMs),
    shutdownGraceMs: read(options.shutdownGraceMs),
    maxConnections: read(options.maxConnections),
    idleTimeoutMs: read(options.idleTimeoutMs),
    httpMaxAge: read(options.httpMaxAge),
    redis,
    backend,
    peers,
    outbox: {
      limitBytes: read(options.outboxMaxBytes),
      sync: read(options.outboxSync),
      drainTimeoutMs: read(options.drainTimeoutMs),
      dataDirectory: read(options.dataDirectory),
      nodeId: read(options.nodeId),
    },
    telemetry: {
      logLevel: read(options.logLevel),
      keys: read(options.telemetryKeys),
      sqlComments: read(options.sqlComments),
      metricsBuckets: read(options.metricsBuckets),
      otel,
    },
  };
  const ineffective = withoutEffect(config, flags, env);
  return { config, warnings: [...openAddress(config.address), ...unknownVariables(env), ...ineffective, ...warnings] };
}

function redisConfig(read: <T>(option: Option<T>) => T): RedisConfig | null {
  const url = read(options.redisUrl);
  const config = {
    prefix: read(options.redisPrefix),
    nearCacheBytes: read(options.nearCacheBytes),
    connectTimeoutMs: read(options.redisConnectTimeoutMs),
    commandTimeoutMs: read(options.redisCommandTimeoutMs),
    staleIfErrorMs: read(options.staleIfErrorMs),
    caFile: read(options.redisCaFile),
    certFile: read(options.redisCertFile),
    keyFile: read(options.redisKeyFile),
    serverName: read(options.redisServerName),
    tlsVerify: read(options.redisTlsVerify),
    sentinelUser: read(options.redisSentinelUser),
    sentinelPassword: read(options.redisSentinelPassword),
  };
  return url === null ? null : { url, ...config };
}

function backendConfig(read: <T>(option: Option<T>) => T): BackendConfig | null {
  const url = read(options.backendUrl);
  const config = {
    table: read(options.backendTable),
    readSql: read(options.backendReadSql),
    writeSql: read(options.backendWriteSql),
    deleteSql: read(options.backendDeleteSql),
    keys: read(options.backendKeys),
    deletes: read(options.backendDelete),
    batchPath: read(options.backendBatchPath),
    allowsHtml: read(options.backendHtml),
    caFile: read(options.backendCaFile),
    timeoutMs: read(options.backendTimeoutMs),
    writeTimeoutMs: read(options.backendWriteTimeoutMs),
    connections: read(options.backendConnections),
    writeConnections: read(options.backendWriteConnections),
    fillTtlMs: read(options.fillTtlMs),
    negativeTtlMs: read(options.negativeTtlMs),
    staleIfErrorMs: read(options.staleIfErrorMs),
    staleMemoryBytes: read(options.staleMemoryBytes),
    refreshAhead: read(options.refreshAhead),
    writeMode: read(options.writeMode),
    reloadsWrites: read(options.writeReload),
    writeDelayMs: read(options.writeDelayMs),
    writeBatchRows: read(options.writeBatchRows),
    writeAttempts: read(options.writeAttempts),
  };
  if (url === null) return null;
  requireWholeSql(config);
  return { url, ...config };
}

function peersConfig(read: <T>(option: Option<T>) => T): PeersConfig | null {
  const urls = read(options.peers);
  const config = {
    token: read(options.peerToken),
    keys: read(options.replicatedKeys),
    maxSkewMs: read(options.maxClockSkewMs),
    tombstoneMs: read(options.tombstoneTtlMs),
    bootstrap: read(options.bootstrap),
    bootstrapTimeoutMs: read(options.bootstrapTimeoutMs),
    compareEveryMs: read(options.compareEveryMs),
    queueLimitBytes: read(options.peerQueueBytes),
    queueLimitKeys: read(options.peerQueueKeys),
    bytesPerSecond: read(options.peerBandwidth),
  };
  return urls === null ? null : { urls, ...config };
}

/** Throws `ConfigError` if the user's own SQL lacks a statement that the configured mode needs. */
function requireWholeSql(
  config: Pick<BackendConfig, "readSql" | "writeSql" | "deleteSql" | "deletes" | "writeMode">,
): void {
  const { readSql, writeSql, deleteSql, deletes, writeMode } = config;
  if (readSql === null) {
    const other = writeSql !== null ? "SERV_CACHE_BACKEND_WRITE_SQL" : "SERV_CACHE_BACKEND_DELETE_SQL";
    if (writeSql === null && deleteSql === null) return;
    throw new ConfigError(`${other} is set, but SERV_CACHE_BACKEND_READ_SQL is not: set that, too`);
  }
  if (writeSql === null && writeMode !== "none") {
    throw new ConfigError(
      "SERV_CACHE_BACKEND_READ_SQL is set, but SERV_CACHE_BACKEND_WRITE_SQL is not: set that, or SERV_CACHE_WRITE_MODE=none",
    );
  }
  if (deleteSql === null && deletes) {
    throw new ConfigError("SERV_CACHE_BACKEND_DELETE is true: set SERV_CACHE_BACKEND_DELETE_SQL, too");
  }
}

function readOption<T>(option: Option<T>, flags: FlagValues, env: Environment, machine: Machine): T {
  const flag = option.flags.find((name) => flags.has(name));
  if (flag !== undefined) return parsed(option, `--${flag}`, flags.get(flag) ?? "", machine);
  const variable = variablesOf(option).find((name) => (env[name] ?? "") !== "");
  if (variable === undefined) return option.defaultValue(machine);
  return parsed(option, variable, env[variable] ?? "", machine);
}

function parsed<T>(option: Option<T>, name: string, text: string, machine: Machine): T {
  const value = option.parse(text, machine);
  if (value === undefined)
    throw new ConfigError(`${name} is ${JSON.stringify(withoutSecrets(text))}, expected ${option.expected}`);
  return value;
}

/** Removes the credentials before the `@` of a URL, because the text goes to logs. */
function withoutSecrets(text: string): string {
  return text.replace(/\/\/[^/]*@/g, "//…@");
}
