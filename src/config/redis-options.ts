/** The options of the engine on Redis or Valkey. All but the first matter only where that one is set. */

import { parseByteSize } from "./byte-size.ts";
import { type Option, parseMs, within } from "./option.ts";
import { textOption } from "./option-kinds.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const MAX_MEMORY_BYTES = 28 * GIB;
const MAX_TIMEOUT_MS = 60_000;

const redisUrl: Option<string | null> = {
  ...textOption(
    {
      env: "REDIS_URL",
      flag: "redis-url",
      meaning:
        "stores the entries in Redis or Valkey: one server, seeds of a cluster, or redis+sentinel://h1,h2/mymaster",
    },
    "URL",
    "in memory",
  ),
  expected:
    "a URL such as redis://host:6379, rediss://user:password@host, valkey://a:1,b:2 or redis+sentinel://h1,h2/name",
  parse: (given) => (/^[a-z+]+:\/\//i.test(given) ? given : undefined),
};

const redisPrefix: Option<string> = {
  env: "SERV_CACHE_REDIS_PREFIX",
  flags: ["redis-prefix"],
  placeholder: "TEXT",
  meaning: "prefix of every key in Redis; without one, the whole database belongs to the cache",
  defaultText: "none",
  defaultValue: () => "",
  expected: "any text",
  parse: (given) => given,
};

const nearCacheBytes: Option<number | null> = {
  env: "SERV_CACHE_NEAR_CACHE",
  flags: ["near-cache"],
  placeholder: "SIZE",
  meaning: "memory for hot entries in front of Redis, kept consistent by its invalidation messages",
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

const redisCaFile = textOption(
  {
    env: "SERV_CACHE_REDIS_CA",
    flag: "redis-ca",
    meaning: "PEM file of the authorities that sign the certificate of Redis",
  },
  "FILE",
  "the system's",
);

const redisCertFile = textOption(
  { env: "SERV_CACHE_REDIS_CERT", flag: "redis-cert", meaning: "PEM file of the client certificate" },
  "FILE",
);

const redisKeyFile = textOption(
  { env: "SERV_CACHE_REDIS_KEY", flag: "redis-key", meaning: "PEM file of the client certificate's private key" },
  "FILE",
);

const redisServerName = textOption(
  {
    env: "SERV_CACHE_REDIS_SERVER_NAME",
    flag: "redis-server-name",
    meaning: "name to expect in the certificate of Redis",
  },
  "NAME",
  "the host of the URL",
);

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

const redisSentinelUser = textOption(
  {
    env: "SERV_CACHE_REDIS_SENTINEL_USER",
    flag: "redis-sentinel-user",
    meaning: "user name for the Sentinels themselves",
  },
  "NAME",
);

const redisSentinelPassword = textOption(
  {
    env: "SERV_CACHE_REDIS_SENTINEL_PASSWORD",
    flag: "redis-sentinel-password",
    meaning: "password for the Sentinels themselves",
  },
  "TEXT",
);

export const redisOptions = {
  redisUrl,
  redisPrefix,
  nearCacheBytes,
  redisConnectTimeoutMs,
  redisCommandTimeoutMs,
  redisCaFile,
  redisCertFile,
  redisKeyFile,
  redisServerName,
  redisTlsVerify,
  redisSentinelUser,
  redisSentinelPassword,
} as const;

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
