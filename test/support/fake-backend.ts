import type { Backend, BackendRow, CallOptions, LoadResult, RowResult } from "../../src/backend/backend.ts";
import { BackendError } from "../../src/backend/backend.ts";

/** A backend in memory that a test can hold, fail, and look into. */
export class FakeBackend implements Backend {
  readonly name = "http";
  loadBatchKeys = 100;
  problem = "";
  readonly values = new Map<string, string>();
  readonly loads: string[][] = [];
  readonly writes: string[][] = [];
  /** What every call waits for. */
  gate: Promise<void> = Promise.resolve();
  /** What writes wait for besides. */
  writeGate: Promise<void> = Promise.resolve();
  isAway = false;
  /** What the backend makes of a value that it is given; null = it keeps none. */
  made: (value: string) => string | null = (value) => value;
  /** Keys whose rows are refused for good. */
  readonly refused = new Set<string>();
  /** Keys whose rows end their connection, which others don't. */
  readonly failingAlone = new Set<string>();
  /** Keys that were written as ones that share no statement. */
  readonly eachAlone: string[] = [];
  /** Keys whose rows have to wait for an earlier write. */
  readonly held = new Set<string>();
  /** A batch that holds one of these fails as a whole. */
  readonly poison = new Set<string>();
  concurrent = 0;
  mostConcurrent = 0;

  /** Keys that can never be the backend's. */
  readonly strange = new Set<string>();

  keyProblem(key: string): string {
    return this.strange.has(key) ? "it has 3 parts" : "";
  }

  async load(keys: readonly string[], _options: CallOptions): Promise<LoadResult[]> {
    this.loads.push([...keys]);
    await this.#pass();
    return keys.map((key) => {
      if (this.isAway) return { kind: "failed", error: away() };
      const value = this.values.get(key);
      if (value === undefined) return { kind: "absent" };
      return { kind: "found", value: { bytes: Buffer.from(value), contentType: "application/json" } };
    });
  }

  async write(rows: readonly BackendRow[], options: CallOptions): Promise<RowResult[]> {
    this.writes.push(rows.map((row) => row.key));
    if (options.isEachAlone === true) this.eachAlone.push(...rows.map((row) => row.key));
    await this.writeGate;
    await this.#pass();
    const fails = this.isAway || rows.some((row) => this.poison.has(row.key));
    return rows.map((row) => {
      if (fails) return { kind: "retry", error: away() };
      if (this.held.has(row.key)) {
        return { kind: "retry", error: new BackendError("ERR_BACKEND_BUSY", "an earlier write is under way") };
      }
      if (this.failingAlone.has(row.key)) return { kind: "retry", error: away(), failedAlone: true };
      if (this.refused.has(row.key)) return { kind: "refused", reason: "no such customer" };
      const kept = row.kind === "put" ? this.made(row.value.bytes.toString()) : null;
      if (kept === null) this.values.delete(row.key);
      else this.values.set(row.key, kept);
      return { kind: "written" };
    });
  }

  async check(): Promise<void> {
    if (this.isAway) throw away();
  }

  async close(): Promise<void> {}

  /** Holds calls until the function that it gives is called. */
  hold(which: "all" | "writes" = "all"): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (which === "all") this.gate = promise;
    else this.writeGate = promise;
    return resolve;
  }

  async #pass(): Promise<void> {
    this.concurrent += 1;
    this.mostConcurrent = Math.max(this.mostConcurrent, this.concurrent);
    await this.gate;
    this.concurrent -= 1;
  }
}

function away(): BackendError {
  return new BackendError("ERR_BACKEND_UNAVAILABLE", "away");
}
