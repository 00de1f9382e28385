/** Environment and flags -> one validated `Config`. */

import type { Address } from "./address.ts";
import { ConfigError } from "./errors.ts";
import { type FlagValues, readFlags } from "./flags.ts";
import type { Machine, Option } from "./option.ts";
import { notYet, options } from "./options.ts";

/** What one node needs to know. Plain data: it is handed to threads as it is. */
export interface Config {
  readonly address: Address;
  readonly maxMemoryBytes: number;
  readonly workers: number;
  /** Null = writes without a TTL never expire. */
  readonly defaultTtlMs: number | null;
  readonly shutdownGraceMs: number;
  /** Of each HTTP thread. */
  readonly maxConnections: number;
  readonly idleTimeoutMs: number;
  /** Null = the entries are in this node's memory. */
  readonly redis: RedisConfig | null;
}

/** Files are named, not read. */
export interface RedisConfig {
  readonly url: string;
  readonly prefix: string;
  readonly fallback: "memory" | "error";
  /** Null = no near cache. */
  readonly nearCacheBytes: number | null;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  readonly journalBytes: number;
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
  /** One line each, for standard error. */
  readonly warnings: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration; a flag wins over its variable, a variable that is set to nothing counts as not set.
 * Throws `ConfigError` with one line that names what can't be used.
 */
export function loadConfig(args: readonly string[], env: Environment, machine: Machine): LoadedConfig {
  const flags = readFlags(args);
  refuseNotYet(flags, env);
  const read = <T>(option: Option<T>): T => readOption(option, flags, env, machine);
  const config: Config = {
    address: read(options.address),
    maxMemoryBytes: read(options.maxMemoryBytes),
    workers: read(options.workers),
    defaultTtlMs: read(options.defaultTtlMs),
    shutdownGraceMs: read(options.shutdownGraceMs),
    maxConnections: read(options.maxConnections),
    idleTimeoutMs: read(options.idleTimeoutMs),
    redis: redisConfig(read),
  };
  return { config, warnings: unknownVariables(env) };
}

function redisConfig(read: <T>(option: Option<T>) => T): RedisConfig | null {
  const url = read(options.redisUrl);
  const config = {
    prefix: read(options.redisPrefix),
    fallback: read(options.redisFallback),
    nearCacheBytes: read(options.nearCacheBytes),
    connectTimeoutMs: read(options.redisConnectTimeoutMs),
    commandTimeoutMs: read(options.redisCommandTimeoutMs),
    journalBytes: read(options.redisJournalBytes),
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

function readOption<T>(option: Option<T>, flags: FlagValues, env: Environment, machine: Machine): T {
  const flag = option.flags.find((name) => flags.has(name));
  if (flag !== undefined) return parsed(option, `--${flag}`, flags.get(flag) ?? "", machine);
  const text = env[option.env];
  if (text === undefined || text === "") return option.defaultValue(machine);
  return parsed(option, option.env, text, machine);
}

function parsed<T>(option: Option<T>, name: string, text: string, machine: Machine): T {
  const value = option.parse(text, machine);
  if (value === undefined) throw new ConfigError(`${name} is ${JSON.stringify(text)}, expected ${option.expected}`);
  return value;
}

function refuseNotYet(flags: FlagValues, env: Environment): void {
  for (const option of notYet) {
    const name = flags.has(option.flag) ? `--${option.flag}` : env[option.env] ? option.env : null;
    if (name !== null) throw new ConfigError(`${name} is set, but this version does not have it yet: leave it out`);
  }
}

function unknownVariables(env: Environment): string[] {
  const known = new Set(Object.values(options).map((option) => option.env));
  return Object.keys(env)
    .filter((name) => name.startsWith("SERV_CACHE_") && env[name] !== "" && !known.has(name))
    .sort()
    .map((name) => `${name} is set, but ServCache knows no such variable: it has no effect`);
}
