/** Divides the memory limit of the process into entries, bytes in flight, and the runtime. */

import { formatByteSize } from "./byte-size.ts";
import { ConfigError } from "./errors.ts";

const MIB = 1024 ** 2;

/** The memory limit of the process, and its parts. */
export interface MemoryDivision {
  /** Limit of the whole process. */
  readonly limitBytes: number;
  /** Entries with index and headers; 0 = this node stores none. */
  readonly entryBytes: number;
  /** Request bodies, pending answers, and answers of databases and peers. */
  readonly inFlightBytes: number;
  /** Code, heaps, and parts with their own limits. */
  readonly runtimeBytes: number;
}

/** The settings that determine the division. */
export interface MemoryDemand {
  readonly limitBytes: number;
  /** `SERV_CACHE_ENTRY_MEMORY`; null = the memory that the other parts leave. */
  readonly entryBytes: number | null;
  readonly workers: number;
  readonly hasBackend: boolean;
  readonly hasPeers: boolean;
  /** Whether stale values of the database are kept in memory, even if Redis stores the entries. */
  readonly keepsStale: boolean;
  /** Null = the memory engine stores the entries. */
  readonly redis: { readonly nearCacheBytes: number | null } | null;
}

/** Less leaves no room for the index and a few segments. */
export const MIN_ENTRY_BYTES = 4 * MIB;
/** The memory engine addresses 8-byte units with 32 bits (32 GiB) and reserves some of them. */
export const MAX_ENTRY_BYTES = 28 * 1024 * MIB;

// Measured in load storms (docs/decisions/0070-memory-of-the-process.md), including the pages of freed buffers that the
// allocator keeps.
/** The process with one thread: code, heap, compiled code. */
const PROCESS_BYTES = 144 * MIB;
/** Each further thread. A node with several HTTP threads also has a main thread. */
const THREAD_BYTES = 60 * MIB;
const BACKEND_BYTES = 40 * MIB;
const PEERS_BYTES = 24 * MIB;
const REDIS_BYTES = 16 * MIB;

/** Two bodies of the maximum size. */
const MIN_IN_FLIGHT_BYTES = 32 * MIB;
const MAX_IN_FLIGHT_BYTES = 512 * MIB;
const IN_FLIGHT_SHARE = 0.125;

/** Throws `ConfigError` with the smallest limit that works if the limit is too small for all parts. */
export function divideProcessMemory(demand: MemoryDemand): MemoryDivision {
  const { limitBytes } = demand;
  const runtimeBytes = runtimeOf(demand);
  const givenBytes = keepsEntries(demand) ? demand.entryBytes : 0;
  const smallestBytes = runtimeBytes + MIN_IN_FLIGHT_BYTES + (givenBytes ?? MIN_ENTRY_BYTES);
  if (limitBytes < smallestBytes) throw new ConfigError(tooSmall(demand, smallestBytes));

  const restBytes = limitBytes - runtimeBytes;
  const share = Math.floor(givenBytes === null ? restBytes * IN_FLIGHT_SHARE : restBytes - givenBytes);
  const inFlightBytes = Math.max(MIN_IN_FLIGHT_BYTES, Math.min(MAX_IN_FLIGHT_BYTES, share));
  const entryBytes = givenBytes ?? Math.min(MAX_ENTRY_BYTES, restBytes - inFlightBytes);
  return { limitBytes, entryBytes, inFlightBytes, runtimeBytes };
}

function keepsEntries({ redis, keepsStale }: MemoryDemand): boolean {
  return redis === null || keepsStale;
}

function runtimeOf({ workers, hasBackend, hasPeers, redis }: MemoryDemand): number {
  const furtherThreads = workers === 1 ? 0 : workers;
  return (
    PROCESS_BYTES +
    furtherThreads * THREAD_BYTES +
    (hasBackend ? BACKEND_BYTES : 0) +
    (hasPeers ? PEERS_BYTES : 0) +
    (redis === null ? 0 : REDIS_BYTES + (redis.nearCacheBytes ?? 0))
  );
}

function tooSmall(demand: MemoryDemand, smallestBytes: number): string {
  const { limitBytes, entryBytes, workers, hasBackend, hasPeers, redis } = demand;
  const parts = [
    workers === 1 ? "1 thread" : `${workers} threads`,
    ...(hasBackend ? ["a database"] : []),
    ...(hasPeers ? ["peers"] : []),
    ...(redis === null ? [] : ["Redis"]),
    ...(entryBytes === null ? [] : [`SERV_CACHE_ENTRY_MEMORY of ${formatByteSize(entryBytes)}`]),
  ];
  const smallest = `${Math.ceil(smallestBytes / MIB)}MiB`;
  return (
    `SERV_CACHE_MAX_MEMORY is ${formatByteSize(limitBytes)} for the whole process, ` +
    `and ${smallest} is the smallest that works with ${parts.join(", ")}: give it more, or set less of these`
  );
}
