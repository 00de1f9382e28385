/**
 * How keys lie in a database: in the default table, or wherever the user's own SQL says. A mapping knows its dialect's
 * texts; connections, time, retries and the isolation of refused rows are `SqlBackend`'s affair.
 */
import type { BackendRow, LoadResult, RowResult } from "../backend.ts";

export type PutRow = Extract<BackendRow, { kind: "put" }>;
export type DeleteRow = Extract<BackendRow, { kind: "delete" }>;

export interface SqlColumn {
  readonly name: string;
  /** The server's number of the type; 0 = not known. */
  readonly type: number;
}

export interface SqlResult {
  /** Objects by column name; arrays of `Buffer | null` where the call asked for raw rows. */
  readonly rows: readonly unknown[];
  readonly columns: readonly SqlColumn[];
  /** Rows that a statement changed, where it gives none. */
  readonly count: number;
}

/** Runs one statement on one connection. Throws what the client throws, or a `BackendError` for time and connection. */
export type RunSql = (text: string, parameters: readonly unknown[], form?: "objects" | "raw") => Promise<SqlResult>;

/** Stored rows of versions beyond it give way to any; undefined = only to newer ones. */
export type Ceiling = number | undefined;

/** How JSON is stored: as text that SQL can read, or as plain bytes where the database refuses the text. */
export type JsonForm = "text" | "bytes";

export interface SqlMapping {
  /** Fails where the tables are not there yet; null = nothing to look for. */
  readonly probe: string | null;
  /** Makes what `probe` did not find. */
  readonly create: readonly string[];
  /** Called on a connection before the first use. Throws `BackendConfigError` where the mapping does not fit the database. */
  prepare?(run: RunSql): Promise<void>;
  /** Why a key can't be one of the database's; empty = it can. */
  keyProblem?(key: string): string;
  readonly loadBatchKeys: number;
  /** At most so many rows in one `put` or `remove`. */
  readonly writeBatchRows: number;
  /** Whether an older put never replaces a newer one. */
  readonly comparesVersions: boolean;
  /** Whether a refused put is worth a second try with the JSON as bytes. */
  readonly hasBytesForm: boolean;
  load(run: RunSql, keys: readonly string[]): Promise<LoadResult[]>;
  /** All rows or none: when it throws, none is known to be written. */
  put(run: RunSql, rows: readonly PutRow[], form: JsonForm, ceiling?: Ceiling): Promise<RowResult[]>;
  remove(run: RunSql, rows: readonly DeleteRow[], ceiling?: Ceiling): Promise<RowResult[]>;
}

/** How sessions are told apart and ended at a server that goes on with what it was sent when nobody waits any more. */
export interface SessionControl {
  /** Gives the session of `run` a name for as long as it lives. */
  name(run: RunSql, name: string): Promise<void>;
  /** The server's ids of those sessions that are not over. */
  find(run: RunSql, names: readonly string[]): Promise<Map<string, number>>;
  /** Tells a session to end. Throws what the server refuses. */
  end(run: RunSql, name: string, id: number): Promise<void>;
}

export interface SqlDialect {
  readonly name: "postgres" | "mysql" | "sqlite";
  /** Statements that each new connection starts with. */
  sessionSetup(statementTimeoutMs: number): readonly string[];
  /** Whether the server says that it can't now, whatever the row: no room, a lock, read-only, too many connections. */
  isPassing(error: unknown): boolean;
  /** Whether the error is about data by its kind. Decides only where no other row can show whether the database is well. */
  blamesData(error: unknown): boolean;
  /** Null = nothing outlives the call that started it. */
  readonly sessions: SessionControl | null;
  /** Whether it is the value's text that the column's type can't hold, and no rule of the table that is broken. */
  refusesText(error: unknown): boolean;
  /** Whether the statement failed because a table is missing. */
  isMissingTable(error: unknown): boolean;
  /** Whether the connection is in an unknown state after the error. */
  isConnectionLost(error: unknown): boolean;
}

/** One value of a row by its column's name; null where there is none. */
export function cell(row: unknown, column: string): unknown {
  return typeof row === "object" && row !== null ? (Reflect.get(row, column) ?? null) : null;
}
