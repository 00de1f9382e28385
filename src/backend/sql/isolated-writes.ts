/**
 * Finds the rows to blame for a statement that failed, by what isolation shows: alone they fail, while another row
 * passes. Which error it was says little: a cast that has no rule for a type reads like a missing table.
 *
 * Failed statements are halved, or split where the mapping knows the row. That the database is well is shown by a row of
 * the same call that passes, or by one that passed before: it is written again, and rolled back.
 */
import { BackendError, type BackendRow, type RowResult } from "../backend.ts";
import { factsOf } from "./client-error.ts";
import type { DeleteRow, JsonForm, PutRow, RunSql, SqlDialect, SqlMapping } from "./mapping.ts";

/** A statement of several rows failed at this one. */
export class FailedAtRow extends Error {
  constructor(
    readonly index: number,
    override readonly cause: unknown,
  ) {
    super("a row failed");
  }
}

/** Larger rows are not kept for later proofs. */
const WITNESS_LIMIT_BYTES = 64 * 1024;

/** So many rows fail alone, with none that passes, before the rest is not tried. */
const LIMIT_UNDECIDED = 8;

/** The newest row of each kind that passed. */
export class Witnesses {
  readonly #rows = new Map<BackendRow["kind"], BackendRow>();

  add(row: BackendRow): void {
    if (row.kind === "put" && row.value.bytes.length > WITNESS_LIMIT_BYTES) return;
    this.#rows.set(row.kind, row);
  }

  of(kind: BackendRow["kind"]): BackendRow | undefined {
    return this.#rows.get(kind);
  }
}

export interface IsolatedWritesOptions {
  readonly run: RunSql;
  readonly dialect: SqlDialect;
  readonly mapping: SqlMapping;
  readonly witnesses: Witnesses;
  readonly ceiling?: number;
  /** Called for a row that was lost with its connection: the server may have it. */
  readonly onDoubt: (row: BackendRow) => void;
}

/** The writes of one call, on one connection. */
export class IsolatedWrites {
  readonly #options: IsolatedWritesOptions;
  /** Whether another row passes, by kind, where that is known. */
  readonly #isWell = new Map<BackendRow["kind"], boolean>();
  readonly #undecided: { readonly row: BackendRow; readonly error: unknown }[] = [];

  constructor(
    options: IsolatedWritesOptions,
    /** Gets a result for each row that has one. */
    private readonly results: Map<string, RowResult>,
  ) {
    this.#options = options;
  }

  /** Writes rows of one kind. Throws what says that the database can't now; then rows without a result are to be retried. */
  async write(rows: readonly BackendRow[]): Promise<void> {
    let failure: unknown;
    try {
      this.#passed(rows, await this.#statement(rows, "text"));
      return;
    } catch (error) {
      failure = error;
    }
    const cause = failure instanceof FailedAtRow ? failure.cause : failure;
    const [first] = rows;
    if (first === undefined || !this.#mayBeRow(cause)) throw cause;
    if ((await this.#isDatabaseWell(first.kind)) === false) throw cause;
    if (rows.length === 1) {
      await this.#failedAlone(first, cause);
      return;
    }
    if (isConnectionLost(cause)) for (const row of rows) this.#options.onDoubt(row);
    for (const part of split(rows, failure)) await this.write(part);
  }

  /** To be called after the last `write`: what failed alone is refused if anything passed since. */
  decide(): void {
    for (const { row, error } of this.#undecided.splice(0)) {
      if (this.#isWell.get(row.kind) === true) this.results.set(row.key, blamed(error));
    }
  }

  /** A call that is over, a server that says that it can't now: such things happen to every row. */
  #mayBeRow(error: unknown): boolean {
    if (error instanceof BackendError) return isConnectionLost(error);
    return !this.#options.dialect.isPassing(error);
  }

  #passed(rows: readonly BackendRow[], outcomes: readonly RowResult[]): void {
    rows.forEach((row, i) => {
      this.results.set(row.key, outcomes[i] ?? notReached(row.key));
    });
    const last = rows.at(-1);
    if (last === undefined) return;
    this.#isWell.set(last.kind, true);
    this.#options.witnesses.add(last);
  }

  /** Null = it answers, but nothing passed yet that could show that it takes writes. */
  async #isDatabaseWell(kind: BackendRow["kind"]): Promise<boolean | null> {
    const known = this.#isWell.get(kind);
    if (known !== undefined) return known;
    const { run, witnesses } = this.#options;
    const witness = witnesses.of(kind);
    let isWell = true;
    try {
      await run("BEGIN", []);
      if (witness !== undefined) await this.#statement([witness], "text");
    } catch {
      isWell = false;
    }
    // Where the connection is lost, so is the transaction.
    await run("ROLLBACK", []).catch(() => {});
    if (isWell && witness === undefined) return null;
    this.#isWell.set(kind, isWell);
    return isWell;
  }

  async #failedAlone(row: BackendRow, error: unknown): Promise<void> {
    const { dialect, mapping } = this.#options;
    if (isConnectionLost(error)) this.#options.onDoubt(row);
    if (row.kind === "put" && mapping.hasBytesForm && dialect.refusesText(error)) {
      // A JSON text that the database's own type refuses (nested too deep, say) is kept as bytes, not refused.
      try {
        this.#passed([row], await this.#statement([row], "bytes"));
        return;
      } catch (second) {
        if (!this.#mayBeRow(second)) throw second;
      }
    }
    if (this.#isWell.get(row.kind) === true || dialect.blamesData(error)) {
      this.results.set(row.key, blamed(error));
      return;
    }
    this.#undecided.push({ row, error });
    if (this.#undecided.length >= LIMIT_UNDECIDED) throw error;
  }

  #statement(rows: readonly BackendRow[], form: JsonForm): Promise<RowResult[]> {
    const { run, mapping, ceiling } = this.#options;
    const puts: PutRow[] = [];
    const deletes: DeleteRow[] = [];
    for (const row of rows) {
      if (row.kind === "put") puts.push(row);
      else deletes.push(row);
    }
    return deletes.length > 0 ? mapping.remove(run, deletes, ceiling) : mapping.put(run, puts, form, ceiling);
  }
}

/** Whether a row that ended its connection is written is not known: it is no refusal. */
function blamed(error: unknown): RowResult {
  if (error instanceof BackendError) return { kind: "retry", error, failedAlone: true };
  return { kind: "refused", reason: factsOf(error).message };
}

function isConnectionLost(error: unknown): boolean {
  return error instanceof BackendError && error.code === "ERR_BACKEND_UNAVAILABLE" && error.cause !== undefined;
}

function split(rows: readonly BackendRow[], failure: unknown): (readonly BackendRow[])[] {
  const at = failure instanceof FailedAtRow ? failure.index : -1;
  if (at < 0) return [rows.slice(0, rows.length >> 1), rows.slice(rows.length >> 1)];
  return [rows.slice(at, at + 1), rows.slice(0, at), rows.slice(at + 1)].filter((part) => part.length > 0);
}

function notReached(key: string): RowResult {
  const error = new BackendError("ERR_BACKEND_ANSWER", `the database said nothing about ${JSON.stringify(key)}`);
  return { kind: "retry", error };
}
