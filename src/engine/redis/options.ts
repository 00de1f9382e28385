import type { Tracer } from "../../telemetry/trace/tracer.ts";
import type { Engine } from "../engine.ts";
import type { RedisTarget } from "./redis-url.ts";

/** PEM texts, not paths. */
export interface RedisTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** The name to expect in the server's certificate; null = the host name of the connection. */
  readonly serverName: string | null;
  /** False accepts any certificate. */
  readonly verify: boolean;
}

export interface RedisEngineOptions {
  readonly target: RedisTarget;
  /** Prefix of every key in Redis. Without one, the whole database belongs to the cache. */
  readonly prefix: string;
  /**
   * Whether every entry is stored with its version and node id, and the newer one wins. Needed if mutations can arrive
   * late: with peers, or with fills from a backend. Otherwise entries are plain JSON texts.
   */
  readonly versioned: boolean;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  /** How long after Redis went away the near cache may answer; 0 = not at all. */
  readonly staleIfErrorMs: number;
  /**
   * The state of outages shared by all threads of the node, made by `makeOutages`; null = this engine is the only one.
   */
  readonly outages: SharedArrayBuffer | null;
  /** The engine that holds hot entries in front of Redis; null = none. */
  readonly nearEngine: Engine | null;
  /**
   * Shared by all threads that share `nearEngine`, so that a mutation by one thread invalidates the fill of another;
   * made by `makeNearEpochs`. Null = this engine is the only one.
   */
  readonly nearEpochs: SharedArrayBuffer | null;
  /** The counts of all threads of the node, made by `makeCounters`; null = this engine is the only one. */
  readonly counters: SharedArrayBuffer | null;
  /** Number of the calling thread, from 0. */
  readonly thread: number;
  readonly tls: RedisTls;
  /** Credentials for the Sentinels themselves. */
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: string | null;
  /** ms since the Unix epoch. */
  readonly clock: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Logs one line for the operator when the state changes. */
  readonly log: (message: string) => void;
  /** Creates a span for each command of a sampled request; null = no spans. */
  readonly tracer: Tracer | null;
}

const TLS_DEFAULTS: RedisTls = { ca: null, cert: null, key: null, serverName: null, verify: true };

const DEFAULTS = {
  prefix: "",
  versioned: false,
  connectTimeoutMs: 1000,
  commandTimeoutMs: 250,
  staleIfErrorMs: 0,
  outages: null,
  nearEngine: null,
  nearEpochs: null,
  counters: null,
  thread: 0,
  tls: TLS_DEFAULTS,
  sentinelUsername: null,
  sentinelPassword: null,
  clock: () => Date.now(),
  random: () => Math.random(),
  log: () => {},
  tracer: null,
} satisfies Omit<RedisEngineOptions, "target">;

/** Required and optional settings. */
export type RedisEngineSettings = Pick<RedisEngineOptions, "target"> & Partial<RedisEngineOptions>;

export function withDefaults(settings: RedisEngineSettings): RedisEngineOptions {
  return { ...DEFAULTS, ...settings };
}
