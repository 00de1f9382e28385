/**
 * Keys mapped onto tables that exist, by SQL of the user's own: one statement per key, its parameters bound.
 *
 * A write runs its rows in one transaction. Nothing guards an older write against a newer one but the order in which
 * they are made, and the user's own use of `:version`.
 */

import { JSON_CONTENT_TYPE } from "../../engine/engine.ts";
import type { LoadResult, RowResult } from "../backend.ts";
import { BackendConfigError, BackendError } from "../backend.ts";
import { FailedAtRow } from "./isolated-writes.ts";
import type { DeleteRow, PutRow, RunSql, SqlDialect, SqlMapping } from "./mapping.ts";
import { parseTemplate, type SqlTemplate } from "./sql-template.ts";
import { valueOfRawRow, valueOfRow } from "./user-value.ts";

export interface UserSqlTexts {
  /** `SERV_CACHE_BACKEND_READ_SQL` */
  readonly read: string;
  /** `SERV_CACHE_BACKEND_WRITE_SQL`; null where nothing is written. */
  readonly write: string | null;
  /** `SERV_CACHE_BACKEND_DELETE_SQL`; null where deletes don't reach the database. */
  readonly remove: string | null;
}

export class UserSql implements SqlMapping {
  readonly probe = null;
  readonly create = [];
  readonly loadBatchKeys = 1;
  readonly writeBatchRows = 64;
  readonly comparesVersions = false;
  readonly hasBytesForm = false;
  readonly #dialect: SqlDialect["name"];
  readonly #read: SqlTemplate;
  readonly #write: SqlTemplate | null;
  readonly #remove: SqlTemplate | null;

  /** Throws `BackendConfigError` for a placeholder that is not known. */
  constructor(dialect: SqlDialect["name"], texts: UserSqlTexts) {
    const parse = (
      variable: string,
      text: string,
      allowed: readonly ("key" | "value" | "version" | "content_type")[],
    ) => parseTemplate(text, { variable, dialect, allowed });
    this.#dialect = dialect;
    this.#read = parse("SERV_CACHE_BACKEND_READ_SQL", texts.read, ["key"]);
    this.#write =
      texts.write === null
        ? null
        : parse("SERV_CACHE_BACKEND_WRITE_SQL", texts.write, ["key", "value", "version", "content_type"]);
    this.#remove =
      texts.remove === null ? null : parse("SERV_CACHE_BACKEND_DELETE_SQL", texts.remove, ["key", "version"]);
    if (this.#read.placeholders.length === 0) {
      throw new BackendConfigError(
        "SERV_CACHE_BACKEND_READ_SQL names no key: use :key, or :1, :2 … for the key's parts",
      );
    }
  }

  async load(run: RunSql, keys: readonly string[]): Promise<LoadResult[]> {
    const results: LoadResult[] = [];
    for (const key of keys) results.push(await this.#loadOne(run, key));
    return results;
  }

  put(run: RunSql, rows: readonly PutRow[]): Promise<RowResult[]> {
    return inTransaction(run, required(this.#write, "SERV_CACHE_BACKEND_WRITE_SQL"), rows);
  }

  remove(run: RunSql, rows: readonly DeleteRow[]): Promise<RowResult[]> {
    return inTransaction(run, required(this.#remove, "SERV_CACHE_BACKEND_DELETE_SQL"), rows);
  }

  async #loadOne(run: RunSql, key: string): Promise<LoadResult> {
    // PostgreSQL's own text of each value keeps numbers digit for digit; the other clients give no text.
    const isRaw = this.#dialect === "postgres";
    const result = await run(this.#read.text, bindKey(this.#read, key), isRaw ? "raw" : "objects");
    const row = result.rows[0];
    if (row === undefined) return { kind: "absent" };
    const value = isRaw ? valueOfRawRow(row, result.columns) : valueOfRow(row);
    if (value !== null) return { kind: "found", value };
    return {
      kind: "failed",
      error: new BackendError(
        "ERR_BACKEND_ANSWER",
        "SERV_CACHE_BACKEND_READ_SQL gave a row that can't be made a value",
      ),
    };
  }
}

async function inTransaction(
  run: RunSql,
  template: SqlTemplate,
  rows: readonly (PutRow | DeleteRow)[],
): Promise<RowResult[]> {
  if (rows.length > 1) await run("BEGIN", []);
  try {
    for (const [i, row] of rows.entries()) {
      await run(template.text, bindRow(template, row)).catch((cause: unknown) => {
        throw cause instanceof BackendError ? cause : new FailedAtRow(i, cause);
      });
    }
    if (rows.length > 1) await run("COMMIT", []);
  } catch (error) {
    // After a lost connection there is nothing to roll back, and saying so fails like the statement did.
    if (rows.length > 1) await run("ROLLBACK", []).catch(() => {});
    throw error;
  }
  return rows.map(() => ({ kind: "written" }));
}

function bindKey(template: SqlTemplate, key: string): unknown[] {
  const parts = key.split(":");
  return template.placeholders.map((what) => (typeof what === "object" ? (parts[what.part - 1] ?? null) : key));
}

function bindRow(template: SqlTemplate, row: PutRow | DeleteRow): unknown[] {
  const parts = row.key.split(":");
  return template.placeholders.map((what) => {
    if (typeof what === "object") return parts[what.part - 1] ?? null;
    if (what === "key") return row.key;
    if (what === "version") return String(row.version);
    if (row.kind === "delete") return null;
    if (what === "content_type") return row.contentType;
    return row.contentType === JSON_CONTENT_TYPE ? row.value.toString("utf8") : row.value;
  });
}

function required(template: SqlTemplate | null, variable: string): SqlTemplate {
  if (template === null) throw new BackendConfigError(`${variable} is not set, so nothing can be written`);
  return template;
}
