/** The options of the engine on Redis or Valkey. All but the first matter only where that one is set. */

import { parseByteSize } from "./byte-size.ts";
import { type Option, parseMs, within } from "./option.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const MAX_MEMORY_BYTES = 28 * GIB;
const MAX_TIMEOUT_MS = 60_000;

const redisUrl: Option<string | null> = {
  ...text("REDIS_URL", "redis-url", "URL"),
  meaning: "keeps the entries in Redis or Valkey: one server, seeds of a cluster, or redis+sentinel://h1,h2/mymaster",
  defaultText: "in memory",
  expected:
    "a URL such as redis://host:6379, rediss://user:password@host, valkey://a:1,b:2 or redis+sentinel://h1,h2/name",
  parse: (given) => (/^[a-z+]+:\/\//i.test(given) ? given : undefined),
};

const redisPrefix: Option<string> = {
  env: "SERV_CACHE_REDIS_PREFIX",
  flags: ["redis-prefix"],
  placeholder: "TEXT",
  meaning: "text before every key in Redis; without one, the whole database belongs to the cache",
  defaultText: "none",
  defaultValue: () => "",
  expected: "any text",
  parse: (given) => given,
};

const redisFallback: Option<"memory" | "error"> = {
  env: "SERV_CACHE_REDIS_FALLBACK",
  flags: ["redis-fallback"],
  placeholder: "MODE",
  meaning: "while Redis is away: memory = serve from this node and replay to Redis later, error = 503 at once",
  defaultText: "memory",
  defaultValue: () => "memory",
  expected: "memory or error",
  parse: (given) => (given === "memory" || given === "error" ? given : undefined),
};

const nearCacheBytes: Option<number | null> = {
  env: "SERV_CACHE_NEAR_CACHE",
  flags: ["near-cache"],
  placeholder: "SIZE",
  meaning: "memory for hot entries in front of Redis, kept right by its invalidation messages",
  defaultText: "off",
  defaultValue: () => null,
  expected: "off, or a size from 4MiB to 28GiB such as 256MiB",
  parse: (given, machine) =>
    given === "off" ? null : within(parseByteSize(given, machine.memoryBytes), 4 * MIB, MAX_MEMORY_BYTES),
};

const redisConnectTimeoutMs = timeout("SERV_CACHE_REDIS_CONNECT_TIMEOUT", "redis-connect-timeout", 1_000, "1s", {
  meaning: "how long connecting to Redis may take",
});

const redisCommandTimeoutMs = timeout("SERV_CACHE_REDIS_COMMAND_TIMEOUT", "redis-command-timeout", 250, "250ms", {
  meaning: "how long Redis may take to answer a command",
});

const redisJournalBytes: Option<number> = {
  env: "SERV_CACHE_REDIS_JOURNAL",
  flags: ["redis-journal"],
  placeholder: "SIZE",
  meaning:
    "memory of each HTTP thread for mutations that wait for Redis to return; beyond it they are refused with 503",
  defaultText: "64MiB",
  defaultValue: () => 64 * MIB,
  expected: "a size from 1MiB to 4GiB such as 64MiB",
  parse: (given, machine) => within(parseByteSize(given, machine.memoryBytes), MIB, 4 * GIB),
};

const redisCaFile: Option<string | null> = {
  ...text("SERV_CACHE_REDIS_CA", "redis-ca", "FILE"),
  meaning: "PEM file of the authorities that sign Redis' certificate",
  defaultText: "the system's",
};

const redisCertFile: Option<string | null> = {
  ...text("SERV_CACHE_REDIS_CERT", "redis-cert", "FILE"),
  meaning: "PEM file of the certificate to show to Redis",
};

const redisKeyFile: Option<string | null> = {
  ...text("SERV_CACHE_REDIS_KEY", "redis-key", "FILE"),
  meaning: "PEM file of that certificate's private key",
};

const redisServerName: Option<string | null> = {
  ...text("SERV_CACHE_REDIS_SERVER_NAME", "redis-server-name", "NAME"),
  meaning: "name to expect in Redis' certificate",
  defaultText: "the host of the URL",
};

const redisTlsVerify: Option<boolean> = {
  env: "SERV_CACHE_REDIS_TLS_VERIFY",
  flags: ["redis-tls-verify"],
  placeholder: "BOOL",
  meaning: "false accepts any certificate",
  defaultText: "true",
  defaultValue: () => true,
  expected: "true or false",
  parse: (given) => (given === "true" ? true : given === "false" ? false : undefined),
};

const redisSentinelUser: Option<string | null> = {
  ...text("SERV_CACHE_REDIS_SENTINEL_USER", "redis-sentinel-user", "NAME"),
  meaning: "user at the sentinels themselves",
};

const redisSentinelPassword: Option<string | null> = {
  ...text("SERV_CACHE_REDIS_SENTINEL_PASSWORD", "redis-sentinel-password", "TEXT"),
  meaning: "password at the sentinels themselves",
};

export const redisOptions = {
  redisUrl,
  redisPrefix,
  redisFallback,
  nearCacheBytes,
  redisConnectTimeoutMs,
  redisCommandTimeoutMs,
  redisJournalBytes,
  redisCaFile,
  redisCertFile,
  redisKeyFile,
  redisServerName,
  redisTlsVerify,
  redisSentinelUser,
  redisSentinelPassword,
} as const;

function text(env: string, flag: string, placeholder: string): Omit<Option<string | null>, "meaning"> {
  return {
    env,
    flags: [flag],
    placeholder,
    defaultText: "none",
    defaultValue: () => null,
    expected: "a text that is not empty",
    parse: (given) => (given === "" ? undefined : given),
  };
}

function timeout(
  env: string,
  flag: string,
  defaultMs: number,
  defaultText: string,
  { meaning }: { readonly meaning: string },
): Option<number> {
  return {
    env,
    flags: [flag],
    placeholder: "DURATION",
    meaning,
    defaultText,
    defaultValue: () => defaultMs,
    expected: "a duration from 1ms to 1m such as 250ms",
    parse: (given) => within(parseMs(given), 1, MAX_TIMEOUT_MS),
  };
}
