import type { Tracer } from "../../telemetry/trace/tracer.ts";
import type { Engine } from "../engine.ts";
import type { RedisTarget } from "./redis-url.ts";

/** PEM texts, not paths. */
export interface RedisTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** The name to expect in the server's certificate; null = the host that was connected to. */
  readonly serverName: string | null;
  /** False accepts any certificate. */
  readonly verify: boolean;
}

export interface RedisEngineOptions {
  readonly target: RedisTarget;
  /** Text before every key in Redis. Without a prefix, the whole database belongs to the cache. */
  readonly prefix: string;
  /**
   * Keep a version and an node id with every entry, and the rule that the newer wins. Needed where mutations can arrive
   * late: peers, or fills from a backend. Without it entries stay plain JSON texts.
   */
  readonly versioned: boolean;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  /** For how long after Redis went away the near cache may answer for it; 0 = not at all. */
  readonly staleIfErrorMs: number;
  /** What all threads of the node know of outages, made by `makeOutages`; null = this engine is the only one. */
  readonly outages: SharedArrayBuffer | null;
  /** The engine that holds hot entries in front of Redis; null = none. */
  readonly nearEngine: Engine | null;
  /**
   * Shared by all threads that share `nearEngine`, so that a mutation by one thread stops the fill of another; made
   * by `makeNearEpochs`. Null = this engine is the only one.
   */
  readonly nearEpochs: SharedArrayBuffer | null;
  /** Where all threads of the node count, made by `makeCounters`; null = this engine is the only one. */
  readonly counters: SharedArrayBuffer | null;
  /** Number of the calling thread, from 0. */
  readonly thread: number;
  readonly tls: RedisTls;
  /** Credentials for the sentinels themselves. */
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: string | null;
  /** ms since the Unix epoch. */
  readonly clock: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** One line for the operator, when the state changes. */
  readonly log: (message: string) => void;
  /** Makes a span of each command that is for a sampled request; null = none are made. */
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

/** What must be given, and what may be. */
export type RedisEngineSettings = Pick<RedisEngineOptions, "target"> & Partial<RedisEngineOptions>;

export function withDefaults(settings: RedisEngineSettings): RedisEngineOptions {
  return { ...DEFAULTS, ...settings };
}
