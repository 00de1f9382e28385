/** What a soak runs against: real nodes and servers, what may happen to them, and what must hold all the same. */

import type { History } from "../support/history.ts";
import type { Rules } from "./checker.ts";

/** A thing that goes wrong and is mended again before `run` settles. */
export interface Fault {
  readonly name: string;
  run(history: History): Promise<void>;
}

/** The keys that the clients of one node use in one round. */
export interface NodeKeys {
  readonly writes: readonly string[];
  readonly reads: readonly string[];
  readonly groups: readonly string[];
}

export interface World extends AsyncDisposable {
  readonly name: string;
  readonly nodes: readonly SoakNode[];
  readonly faults: readonly Fault[];
  readonly rules: Rules;
  /** A delete by pattern removes what the node itself has, and may leave a key that only the database has. */
  readonly patternsMayMiss: boolean;
  keysOf(round: number, node: number): NodeKeys;
  /** Waits until everything is mended, delivered and said to be well. Throws where that does not happen. */
  settle(): Promise<void>;
  /** Reads what else holds the keys, such as the database. Gives what is wrong that `rules` can't say. */
  finalChecks(history: History, keys: readonly string[]): Promise<string[]>;
}

export interface SoakNode {
  readonly name: string;
  readonly port: number;
  /** When it was started last, on the history's clock. */
  readonly startedMs: number;
}

export interface WorldOptions {
  readonly random: () => number;
  readonly nowMs: () => number;
}

/** Between `fromMs` and `toMs`, evenly. */
export function between(random: () => number, fromMs: number, toMs: number): number {
  return fromMs + random() * (toMs - fromMs);
}
