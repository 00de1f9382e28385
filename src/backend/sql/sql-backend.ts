/**
 * A database behind the cache, through Bun's SQL client.
 *
 * Loads and writes have connections of their own, so that a drain in full flow keeps no reader waiting. Rows that are to
 * blame for a failed statement are refused (see `IsolatedWrites`); everything else is for the caller to try again.
 */
import type { SQL } from "bun";
import {
  type Backend,
  BackendConfigError,
  BackendError,
  type BackendRow,
  type CallOptions,
  type LoadResult,
  type RowResult,
} from "../backend.ts";
import { callSignal } from "../call-signal.ts";
import { AheadRows, type AheadRowsOptions } from "./ahead-rows.ts";
import { factsOf } from "./client-error.ts";
import { InDoubtWrites } from "./in-doubt-writes.ts";
import { IsolatedWrites, Witnesses } from "./isolated-writes.ts";
import type { RunSql, SqlDialect, SqlMapping } from "./mapping.ts";
import type { Session } from "./session.ts";
import { SessionLedger } from "./session-ledger.ts";
import { SessionPool } from "./session-pool.ts";
import { commentOf, withComment } from "./sql-comment.ts";
import { WriteFence } from "./write-fence.ts";

/** A statement of more than this is split, as long as it has more than one row. */
const STATEMENT_LIMIT_BYTES = 8 * 1024 * 1024;

export interface SqlBackendOptions {
  readonly dialect: SqlDialect;
  readonly mapping: SqlMapping;
  /** Makes a client with one connection. */
  readonly connect: (onClose: () => void) => SQL;
  /** Names the server in errors, without credentials. */
  readonly label: string;
  readonly loadConnections: number;
  readonly writeConnections: number;
  /** The server ends a statement after this time by itself, in ms. */
  readonly loadStatementTimeoutMs: number;
  readonly writeStatementTimeoutMs: number;
  /** Statements carry the trace context of sampled calls as a comment. */
  readonly comments: boolean;
  /** Where the names of write sessions are kept for the next start; null = nowhere. */
  readonly sessionsFile: string | null;
  /** What to do with rows of versions ahead of the clock; null = they are newer like others. */
  readonly aheadRows: AheadRowsOptions | null;
}

export class SqlBackend implements Backend {
  readonly name: Backend["name"];
  readonly loadBatchKeys: number;
  readonly #mapping: SqlMapping;
  readonly #dialect: SqlDialect;
  readonly #loads: SessionPool;
  readonly #writes: SessionPool;
  readonly #ledger: SessionLedger;
  readonly #fence: WriteFence | null;
  readonly #doubtful: InDoubtWrites;
  /** Those that replace what is newer. */
  readonly #doubtfulReplacements: InDoubtWrites;
  readonly #ahead: AheadRows | null;
  readonly #witnesses = new Witnesses();
  #isTableThere = false;
  #isPrepared = false;
  /** Set for good when the table was there and is not any more; empty = it is there. */
  #lostTable = "";

  constructor(private readonly options: SqlBackendOptions) {
    const { dialect, mapping, connect, label } = options;
    this.name = dialect.name;
    this.loadBatchKeys = mapping.loadBatchKeys;
    this.#mapping = mapping;
    this.#dialect = dialect;
    const pool = (size: number, timeoutMs: number, fence: WriteFence | null) =>
      new SessionPool({ dialect, connect, label, setup: dialect.sessionSetup(timeoutMs), fence }, size);
    this.#ledger = new SessionLedger(options.sessionsFile);
    this.#fence = dialect.sessions === null ? null : new WriteFence(dialect.sessions, this.#ledger);
    const isInDoubt = (session: string) => this.#fence?.isInDoubt(session) === true;
    this.#doubtful = new InDoubtWrites(isInDoubt);
    this.#doubtfulReplacements = new InDoubtWrites(isInDoubt);
    this.#ahead = options.aheadRows === null ? null : new AheadRows(options.aheadRows);
    this.#loads = pool(options.loadConnections, options.loadStatementTimeoutMs, null);
    this.#writes = pool(options.writeConnections, options.writeStatementTimeoutMs, this.#fence);
  }

  get problem(): string {
    const problems = [this.#fence?.problem ?? "", this.#lostTable, this.#ahead?.problem ?? ""];
    return problems.filter((problem) => problem !== "").join("; ");
  }

  keyProblem(key: string): string {
    return this.#mapping.keyProblem?.(key) ?? "";
  }

  async load(keys: readonly string[], options: CallOptions): Promise<LoadResult[]> {
    try {
      return await this.#with(this.#loads, options, (run) => this.#mapping.load(run, keys));
    } catch (error) {
      const kind = this.#dialect.blamesData(error) ? "ERR_BACKEND_REFUSED" : "ERR_BACKEND_UNAVAILABLE";
      const failure = this.#toBackendError(error, kind);
      return keys.map(() => ({ kind: "failed", error: failure }));
    }
  }

  async write(rows: readonly BackendRow[], options: CallOptions): Promise<RowResult[]> {
    const results = new Map<string, RowResult>();
    let tried = rows;
    let replacing: readonly BackendRow[] = [];
    /** Sessions that were lost with what this call had sent them. */
    const lost = new Set<string>();
    const doubt = (row: BackendRow) => {
      for (const session of lost) {
        this.#doubtful.add(row, session);
        if (replacing.includes(row)) this.#doubtfulReplacements.add(row, session);
      }
    };
    try {
      await this.#with(this.#writes, options, async (lent, session) => {
        await this.#fence?.pass(lent);
        const run: RunSql = async (...statement) => {
          try {
            return await lent(...statement);
          } catch (error) {
            lost.add(session.name);
            throw error;
          }
        };
        const { dialect, mapping } = this.options;
        tried = rows.filter((row) => !this.#mustWait(row));
        const isolation = { run, dialect, mapping, witnesses: this.#witnesses, onDoubt: doubt };
        const writes = new IsolatedWrites(isolation, results);
        try {
          for (const chunk of this.#chunks(tried, options)) await writes.write(chunk);
        } finally {
          writes.decide();
        }
        const ceiling = this.#ahead?.ceiling() ?? Number.MAX_SAFE_INTEGER;
        replacing = this.#ahead?.replaceable(tried, results, ceiling) ?? [];
        for (const { key } of replacing) results.delete(key);
        const replacements = new IsolatedWrites({ ...isolation, ceiling }, results);
        for (const chunk of this.#chunks(replacing, options)) await replacements.write(chunk);
        replacements.decide();
      });
    } catch (error) {
      const failure = this.#toBackendError(error, "ERR_BACKEND_UNAVAILABLE");
      for (const row of tried) {
        if (results.has(row.key)) continue;
        doubt(row);
        results.set(row.key, { kind: "retry", error: failure });
      }
    }
    return rows.map((row) => results.get(row.key) ?? overtaking(row.key));
  }

  /** Connects, and makes the table where it is not there. */
  async check(options: CallOptions): Promise<void> {
    try {
      await this.#with(this.#loads, options, async (run) => void (await run("SELECT 1", [])));
    } catch (error) {
      if (error instanceof BackendConfigError) throw error;
      throw this.#toBackendError(error, "ERR_BACKEND_UNAVAILABLE");
    }
  }

  /** Deletes, and puts whose SQL compares no versions, must not be overtaken by what came before them. */
  #mustWait(row: BackendRow): boolean {
    if (this.#doubtfulReplacements.threatens(row)) return true;
    return (row.kind === "delete" || !this.#mapping.comparesVersions) && this.#doubtful.threatens(row);
  }

  async close(): Promise<void> {
    this.#loads.close();
    this.#writes.close();
    this.#ledger.close();
  }

  async #with<T>(
    pool: SessionPool,
    options: CallOptions,
    work: (run: RunSql, session: Session) => Promise<T>,
  ): Promise<T> {
    const signal = callSignal(options);
    const comment = this.options.comments ? commentOf(options.traceContext) : "";
    return pool.use(signal, async (session) => {
      const run: RunSql = (text, parameters, form) => session.run(withComment(text, comment), parameters, signal, form);
      await this.#ensureTable(run);
      await this.#ensurePrepared(run);
      try {
        return await work(run, session);
      } catch (error) {
        if (this.#dialect.isMissingTable(error)) this.#missTable();
        throw error;
      }
    });
  }

  /** Looks first: who may not make tables may still use one. */
  async #ensureTable(run: RunSql): Promise<void> {
    const { probe, create } = this.#mapping;
    if (this.#isTableThere || probe === null) return;
    try {
      await run(probe, []);
    } catch (error) {
      if (!this.#dialect.isMissingTable(error)) throw error;
      // Two nodes that start together may both get here; the one that loses finds the table on the second look.
      for (const statement of create) await run(statement, []).catch(() => run(probe, []));
    }
    this.#isTableThere = true;
  }

  #missTable(): void {
    if (this.#isTableThere && this.#mapping.probe !== null) {
      this.#lostTable = `${this.options.label}: the table of the entries was dropped while in use and is made anew, empty; restore what it held, then restart the node to end this message`;
    }
    this.#isTableThere = false;
  }

  async #ensurePrepared(run: RunSql): Promise<void> {
    if (this.#isPrepared) return;
    await this.#mapping.prepare?.(run);
    this.#isPrepared = true;
  }

  /** Runs of one kind, sorted by key so that two writers never lock the same rows in opposite order. */
  #chunks(rows: readonly BackendRow[], { isEachAlone }: CallOptions): BackendRow[][] {
    const limitRows = isEachAlone === true ? 1 : this.#mapping.writeBatchRows;
    const sorted = [...rows].sort((a, b) => (a.kind === b.kind ? compare(a.key, b.key) : compare(a.kind, b.kind)));
    const chunks: BackendRow[][] = [];
    let chunk: BackendRow[] = [];
    let chunkBytes = 0;
    for (const row of sorted) {
      const rowBytes = row.key.length + (row.kind === "put" ? row.value.bytes.length : 0);
      const isFull = chunk.length >= limitRows || chunkBytes + rowBytes > STATEMENT_LIMIT_BYTES;
      if (chunk.length > 0 && (isFull || chunk[0]?.kind !== row.kind)) {
        chunks.push(chunk);
        chunk = [];
        chunkBytes = 0;
      }
      chunk.push(row);
      chunkBytes += rowBytes;
    }
    if (chunk.length > 0) chunks.push(chunk);
    return chunks;
  }

  #toBackendError(error: unknown, code: "ERR_BACKEND_REFUSED" | "ERR_BACKEND_UNAVAILABLE"): BackendError {
    if (error instanceof BackendError) return error;
    return new BackendError(code, `${this.options.label}: ${factsOf(error).message}`, { cause: error });
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function overtaking(key: string): RowResult {
  const message = `an earlier write of ${JSON.stringify(key)} may still be under way`;
  return { kind: "retry", error: new BackendError("ERR_BACKEND_BUSY", message) };
}
