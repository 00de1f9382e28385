/**
 * Keys mapped onto tables that exist, by SQL of the user's own: one statement per key, its parameters bound by type.
 *
 * A write runs its rows in one transaction. Nothing guards an older write against a newer one but the order in which
 * they are made, and the user's own use of `:version`.
 */

import type { LoadResult, RowResult } from "../backend.ts";
import { BackendConfigError, BackendError } from "../backend.ts";
import { FailedAtRow } from "./isolated-writes.ts";
import { boundAs, type PartType, typeProblem } from "./key-types.ts";
import type { DeleteRow, PutRow, RunSql, SqlColumn, SqlDialect, SqlMapping } from "./mapping.ts";
import { parseTemplate, type SqlTemplate } from "./sql-template.ts";
import { checkColumns, checkStatement } from "./statement-check.ts";
import { parsedColumns, textOrBytes, typeOf, valueOfRawRow, valueOfRow } from "./user-value.ts";

export interface UserSqlTexts {
  /** `SERV_CACHE_BACKEND_READ_SQL` */
  readonly read: string;
  /** `SERV_CACHE_BACKEND_WRITE_SQL`; null where nothing is written. */
  readonly write: string | null;
  /** `SERV_CACHE_BACKEND_DELETE_SQL`; null where deletes don't reach the database. */
  readonly remove: string | null;
}

const READ = "SERV_CACHE_BACKEND_READ_SQL";
const WRITE = "SERV_CACHE_BACKEND_WRITE_SQL";
const DELETE = "SERV_CACHE_BACKEND_DELETE_SQL";

/** Of a query that has to be asked twice for one row. */
const TRIES = 3;

export class UserSql implements SqlMapping {
  readonly probe = null;
  readonly create = [];
  readonly loadBatchKeys = 1;
  readonly writeBatchRows = 64;
  readonly comparesVersions = false;
  readonly hasBytesForm = false;
  readonly #dialect: SqlDialect;
  readonly #read: Statement;
  readonly #write: Statement | null;
  readonly #remove: Statement | null;
  readonly #statements: readonly Statement[];
  /** How many parts a key has; 0 = the statements ask for none. */
  readonly #partCount: number;

  /** Throws `BackendConfigError` for a placeholder that is not known. */
  constructor(dialect: SqlDialect, texts: UserSqlTexts) {
    const statement = (
      variable: string,
      text: string,
      allowed: readonly ("key" | "value" | "version" | "content_type")[],
    ) => new Statement(variable, parseTemplate(text, { variable, dialect: dialect.name, allowed }));
    this.#dialect = dialect;
    this.#read = statement(READ, texts.read, ["key"]);
    this.#write =
      texts.write === null ? null : statement(WRITE, texts.write, ["key", "value", "version", "content_type"]);
    this.#remove = texts.remove === null ? null : statement(DELETE, texts.remove, ["key", "version"]);
    this.#statements = [this.#read, this.#write, this.#remove].filter((made) => made !== null);
    this.#partCount = Math.max(...this.#statements.map((made) => made.partCount));
    if (this.#read.template.parameters.length === 0) {
      throw new BackendConfigError(`${READ} names no key: use :key, or :1, :2 … for the key's parts`);
    }
  }

  async prepare(run: RunSql): Promise<void> {
    for (const statement of this.#statements) statement.types = await checkStatement(run, this.#dialect, statement);
    // SQLite's client tells no columns of an answer without rows.
    if (this.#dialect.name !== "sqlite") await checkColumns(run, this.#read);
  }

  keyProblem(key: string): string {
    const parts = key.split(":");
    if (this.#partCount > 0 && parts.length !== this.#partCount) {
      return `the key has ${parts.length} parts, and the statements are for keys of ${this.#partCount}`;
    }
    for (const statement of this.#statements) {
      const problem = statement.keyProblem(key, parts);
      if (problem !== "") return problem;
    }
    return "";
  }

  async load(run: RunSql, keys: readonly string[]): Promise<LoadResult[]> {
    const results: LoadResult[] = [];
    for (const key of keys) {
      results.push(this.keyProblem(key) === "" ? await this.#loadOne(run, key) : { kind: "absent" });
    }
    return results;
  }

  put(run: RunSql, rows: readonly PutRow[]): Promise<RowResult[]> {
    return this.#inTransaction(run, required(this.#write, WRITE), rows);
  }

  remove(run: RunSql, rows: readonly DeleteRow[]): Promise<RowResult[]> {
    return this.#inTransaction(run, required(this.#remove, DELETE), rows);
  }

  async #loadOne(run: RunSql, key: string): Promise<LoadResult> {
    const { template } = this.#read;
    const parameters = this.#read.bound(key, null);
    // PostgreSQL's own text of each value keeps numbers digit for digit; the other clients give no text.
    const form = this.#dialect.name === "postgres" ? "raw" : "objects";
    for (let tries = 0; tries < TRIES; tries++) {
      const { rows, columns } = await run(template.text, parameters, form);
      const row = rows[0];
      if (row === undefined) return { kind: "absent" };
      const parsed = form === "raw" ? [] : parsedColumns(row, columns);
      const [raw] = parsed.length === 0 ? [row] : (await run(template.text, parameters, "raw")).rows;
      const texts = jsonTexts(row, raw, parsed, columns);
      if (texts === null) continue;
      const value = form === "raw" ? valueOfRawRow(row, columns) : valueOfRow(row, columns, texts);
      if (value !== null) return { kind: "found", value };
      break;
    }
    const message = `${READ} gave a row that can't be made a value`;
    return { kind: "failed", error: new BackendError("ERR_BACKEND_ANSWER", message) };
  }

  async #inTransaction(run: RunSql, statement: Statement, rows: readonly (PutRow | DeleteRow)[]): Promise<RowResult[]> {
    const results: RowResult[] = rows.map(({ key }) => {
      const reason = this.keyProblem(key);
      return reason === "" ? { kind: "written" } : { kind: "refused", reason };
    });
    if (rows.length > 1) await run("BEGIN", []);
    try {
      for (const [i, row] of rows.entries()) {
        if (results[i]?.kind === "refused") continue;
        await run(statement.template.text, statement.bound(row.key, row)).catch((cause: unknown) => {
          throw cause instanceof BackendError ? cause : new FailedAtRow(i, cause);
        });
      }
      if (rows.length > 1) await run("COMMIT", []);
    } catch (error) {
      // After a lost connection there is nothing to roll back, and saying so fails like the statement did.
      if (rows.length > 1) await run("ROLLBACK", []).catch(() => {});
      throw error;
    }
    return results;
  }
}

/** One statement, and what is known of its parameters. */
class Statement {
  readonly partCount: number;
  /** Of each parameter; empty until the database was asked. */
  types: readonly PartType[] = [];

  constructor(
    readonly variable: string,
    readonly template: SqlTemplate,
  ) {
    this.partCount = Math.max(0, ...template.parameters.map(({ what }) => (typeof what === "object" ? what.part : 0)));
  }

  keyProblem(key: string, parts: readonly string[]): string {
    for (const [i, { what }] of this.template.parameters.entries()) {
      const text = typeof what === "object" ? parts[what.part - 1] : what === "key" ? key : undefined;
      const problem = text === undefined ? "" : typeProblem(text, this.types[i] ?? "text");
      if (problem !== "") return problem;
    }
    return "";
  }

  /** The parameters for a key that has no problem. */
  bound(key: string, row: PutRow | DeleteRow | null): unknown[] {
    const parts = key.split(":");
    return this.template.parameters.map(({ what }, i) => {
      if (typeof what === "object") return boundAs(parts[what.part - 1] ?? "", this.types[i] ?? "text");
      if (what === "key") return boundAs(key, this.types[i] ?? "text");
      if (row === null) return null;
      if (what === "version") return String(row.version);
      if (row.kind === "delete") return null;
      return what === "content_type" ? typeOf(row.value) : textOrBytes(row.value);
    });
  }
}

/**
 * MySQL's client parses JSON columns, which loses digits, and raw gives everything in forms of the wire. So the query is
 * asked again for the text of these columns. Null = the row has changed in between.
 */
function jsonTexts(
  row: unknown,
  raw: unknown,
  parsed: readonly number[],
  columns: readonly SqlColumn[],
): ReadonlyMap<string, string> | null {
  const texts = new Map<string, string>();
  for (const i of parsed) {
    const cell: unknown = Array.isArray(raw) ? raw[i] : null;
    const name = columns[i]?.name;
    if (!(cell instanceof Uint8Array) || name === undefined || typeof row !== "object" || row === null) return null;
    const text = Buffer.from(cell).toString("utf8");
    if (!Bun.deepEquals(JSON.parse(text), Reflect.get(row, name))) return null;
    texts.set(name, text);
  }
  return texts;
}

function required(statement: Statement | null, variable: string): Statement {
  if (statement === null) throw new BackendConfigError(`${variable} is not set, so nothing can be written`);
  return statement;
}
