/**
 * The option table: `--help`, the parsing of environment and flags, and the guide are derived from it or tested against it.
 */

import { type Address, parseAddress } from "./address.ts";
import { backendOptions, outboxOptions } from "./backend-options.ts";
import { parseByteSize } from "./byte-size.ts";
import { MAX_ENTRY_BYTES, MIN_ENTRY_BYTES } from "./memory-division.ts";
import { type Option, parseMs, parseWhole, within } from "./option.ts";
import { booleanOption } from "./option-kinds.ts";
import { peerOptions } from "./peer-options.ts";
import { redisOptions } from "./redis-options.ts";
import { telemetryOptions } from "./telemetry-options.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

const MIN_MEMORY_BYTES = MIB;
const MAX_MEMORY_BYTES = 32 * GIB;
const DEFAULT_MEMORY_SHARE = 0.25;
/** On a small machine or container the cache takes more than its usual share, up to this size. */
const DEFAULT_MEMORY_BYTES = 512 * MIB;
const MOST_MEMORY_SHARE = 0.875;
const MAX_WORKERS = 64;
/** Each thread takes memory from the entries, so small machines get fewer threads. */
const MEMORY_PER_WORKER_BYTES = 192 * MIB;
const MAX_CONNECTIONS = 1_000_000;
/** The longest delay that a timer accepts, 2^31 - 1 ms: about 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const address: Option<Address> = {
  env: "SERV_CACHE_ADDR",
  otherEnv: "PORT",
  flags: ["addr", "port"],
  placeholder: "HOST:PORT",
  meaning: "where to listen; a port alone or without a host listens on all interfaces, port 0 on any free port",
  defaultText: "127.0.0.1:8088, for this machine alone",
  defaultValue: () => ({ hostname: "127.0.0.1", port: 8088 }),
  expected: "a port from 0 to 65535 or an address such as :8088, 127.0.0.1:8088 or [::1]:8088",
  parse: (text) => parseAddress(text) ?? undefined,
};

const maxMemoryBytes: Option<number> = {
  env: "SERV_CACHE_MAX_MEMORY",
  flags: ["max-memory"],
  placeholder: "SIZE",
  meaning: "memory limit of the whole process: entries, bytes in flight, and the runtime",
  defaultText: "25% of the machine's or cgroup's memory, and 512MiB at least where that is no more than 87.5%",
  defaultValue: ({ memoryBytes }) => {
    const most = memoryBytes * MOST_MEMORY_SHARE;
    const wanted = Math.min(most, Math.max(DEFAULT_MEMORY_BYTES, memoryBytes * DEFAULT_MEMORY_SHARE));
    return Math.min(MAX_MEMORY_BYTES, Math.max(MIN_MEMORY_BYTES, Math.floor(wanted)));
  },
  expected: "a size from 1MiB to 32GiB such as 512MiB, 2GB or 40% (of the machine's or cgroup's memory)",
  parse: (text, machine) => within(parseByteSize(text, machine.memoryBytes), MIN_MEMORY_BYTES, MAX_MEMORY_BYTES),
};

const entryMemoryBytes: Option<number | null> = {
  env: "SERV_CACHE_ENTRY_MEMORY",
  flags: ["entry-memory"],
  placeholder: "SIZE",
  meaning: "the part of SERV_CACHE_MAX_MEMORY for entries, with their index and headers",
  defaultText: "what bytes in flight and the runtime leave",
  defaultValue: () => null,
  expected: "a size from 4MiB to 28GiB such as 512MiB, 2GB or 40% (of the machine's or cgroup's memory)",
  parse: (text, machine) => within(parseByteSize(text, machine.memoryBytes), MIN_ENTRY_BYTES, MAX_ENTRY_BYTES),
};

const workers: Option<number> = {
  env: "SERV_CACHE_WORKERS",
  flags: ["workers"],
  placeholder: "N",
  meaning: "HTTP threads; 1 runs everything in one thread",
  defaultText: "cores, and no more than one for each 192MiB of the machine's or cgroup's memory",
  defaultValue: ({ cores, memoryBytes }) =>
    Math.min(MAX_WORKERS, Math.max(1, Math.min(cores, Math.floor(memoryBytes / MEMORY_PER_WORKER_BYTES)))),
  expected: "a whole number from 1 to 64",
  parse: (text) => within(parseWhole(text), 1, MAX_WORKERS),
};

const defaultTtlMs: Option<number | null> = {
  env: "SERV_CACHE_DEFAULT_TTL",
  flags: ["default-ttl"],
  placeholder: "DURATION",
  meaning: "TTL of writes without one; 0 = they never expire",
  defaultText: "none",
  defaultValue: () => null,
  expected: "a duration such as 300ms, 1.5h or 1h30m, or 0 for none",
  parse: (text) => {
    const ttlMs = within(parseMs(text), 0, Number.MAX_SAFE_INTEGER);
    return ttlMs === 0 ? null : ttlMs;
  },
};

const shutdownGraceMs: Option<number> = {
  env: "SERV_CACHE_SHUTDOWN_GRACE",
  flags: ["shutdown-grace"],
  placeholder: "DURATION",
  meaning: "how long a shutdown on SIGTERM or SIGINT waits for requests in flight",
  defaultText: "10s",
  defaultValue: () => 10_000,
  expected: "a duration from 0 to 1h such as 10s or 1m30s",
  parse: (text) => within(parseMs(text), 0, 3_600_000),
};

const maxConnections: Option<number> = {
  env: "SERV_CACHE_MAX_CONNECTIONS",
  flags: ["max-connections"],
  placeholder: "N",
  meaning: "open connections on each HTTP thread; further ones are refused with 503",
  defaultText: "10000",
  defaultValue: () => 10_000,
  expected: "a whole number from 1 to 1000000",
  parse: (text) => within(parseWhole(text), 1, MAX_CONNECTIONS),
};

const idleTimeoutMs: Option<number> = {
  env: "SERV_CACHE_IDLE_TIMEOUT",
  flags: ["idle-timeout"],
  placeholder: "DURATION",
  meaning: "how long a connection may be idle between two requests before it is closed",
  defaultText: "1m",
  defaultValue: () => 60_000,
  expected: "a duration from 1ms to 24 days such as 30s or 5m",
  parse: (text) => within(parseMs(text), 1, MAX_TIMER_MS),
};

const httpMaxAge = booleanOption(
  {
    env: "SERV_CACHE_HTTP_MAX_AGE",
    flag: "http-max-age",
    meaning:
      "true answers entries with max-age instead of no-cache: caches in front of the node then serve them until they expire, even after a delete or a newer write",
  },
  false,
);

export const options = {
  address,
  maxMemoryBytes,
  entryMemoryBytes,
  workers,
  defaultTtlMs,
  shutdownGraceMs,
  maxConnections,
  idleTimeoutMs,
  httpMaxAge,
  ...redisOptions,
  ...backendOptions,
  ...outboxOptions,
  ...peerOptions,
  ...telemetryOptions,
} as const;
