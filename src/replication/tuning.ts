import type { LinkLimits } from "./peer-link.ts";

/** Settings with fixed values in production; tests use other values. */
export interface ReplicationTuning extends Omit<LinkLimits, "bytesPerSecond" | "maxSkewMs"> {
  readonly callTimeoutMs: number;
  /** See `RecoveryHorizon`. */
  readonly unheardSkewMs: number;
  readonly backlogRows: number;
  readonly bootstrapPauseMs: number;
  readonly compareTimeoutMs: number;
}

export const DEFAULT_TUNING: ReplicationTuning = {
  window: 32,
  batchRows: 1000,
  batchBytes: 512 * 1024,
  smallRows: 500,
  lingerMs: 10,
  heartbeatMs: 1000,
  backoffFirstMs: 100,
  backoffMaxMs: 10_000,
  refusedPauseMs: 5000,
  unplacedPauseMs: 1000,
  callTimeoutMs: 10_000,
  unheardSkewMs: 1000,
  backlogRows: 2000,
  bootstrapPauseMs: 10,
  compareTimeoutMs: 60_000,
};
