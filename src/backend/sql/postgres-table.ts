/**
 * The default table in PostgreSQL. A batch of any size is one statement with one array per column, so the server plans
 * one text and the limit of 65,535 parameters is far away (measured: as fast as multi-row VALUES at 500 rows, a third
 * faster at 5,000).
 *
 * `value` is bound as text and cast in the statement: a parameter of type json would be serialised once more.
 */
import type { LoadResult, RowResult } from "../backend.ts";
import {
  type Ceiling,
  cell,
  type DeleteRow,
  type JsonForm,
  type PutRow,
  type RunSql,
  type SqlMapping,
} from "./mapping.ts";
import { inOrder, keyText, toStored } from "./stored-value.ts";
import { quoteTable } from "./table-name.ts";

const WRITTEN: RowResult = { kind: "written" };

/** Control characters, and halves of surrogate pairs: JSON escapes those that stand alone. */
const ESCAPED_BY_JSON = /[^\u0020-\ud7ff\ue000-\uffff]/;

export class PostgresTable implements SqlMapping {
  readonly loadBatchKeys = 500;
  readonly writeBatchRows = 1000;
  readonly comparesVersions = true;
  readonly hasBytesForm = true;
  readonly probe: string;
  readonly create: readonly string[];
  readonly #loadSql: string;
  readonly #putSql: string;
  readonly #newerSql: string;
  readonly #removeSql: (ceiling: Ceiling) => string;

  /** Throws `BackendConfigError` where `tableName` is not one. */
  constructor(tableName: string) {
    const table = quoteTable(tableName, '"');
    this.probe = `SELECT key, value, bytes, content_type, version FROM ${table} WHERE false`;
    this.create = [
      `CREATE TABLE IF NOT EXISTS ${table} (key text COLLATE "C" PRIMARY KEY, value json, bytes bytea,
        content_type text NOT NULL, version bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())`,
    ];
    this.#loadSql = `SELECT key, value::text AS value, bytes, content_type FROM ${table} WHERE key = ANY($1::text[])`;
    this.#putSql = `INSERT INTO ${table} AS stored (key, value, bytes, content_type, version, updated_at)
      SELECT key, value::json, bytes, content_type, version, now()
      FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::bigint[])
        AS given (key, value, bytes, content_type, version)
      ON CONFLICT (key) DO UPDATE SET value = excluded.value, bytes = excluded.bytes,
        content_type = excluded.content_type, version = excluded.version, updated_at = excluded.updated_at
      WHERE stored.version <= excluded.version`;
    this.#newerSql = `SELECT given.key, stored.version::text AS version FROM unnest($1::text[], $2::bigint[]) AS given (key, version)
      JOIN ${table} AS stored ON stored.key = given.key AND stored.version > given.version`;
    // The select sees the table as it was before the delete: what is newer there stays.
    this.#removeSql = (
      ceiling,
    ) => `WITH given AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS given (key, version)),
      gone AS (DELETE FROM ${table} AS stored USING given
        WHERE stored.key = given.key AND (stored.version <= given.version${beyond(ceiling)}))
      SELECT given.key, stored.version::text AS version FROM given JOIN ${table} AS stored
      ON stored.key = given.key AND stored.version > given.version AND NOT (false${beyond(ceiling)})`;
  }

  async load(run: RunSql, keys: readonly string[]): Promise<LoadResult[]> {
    const { rows } = await run(this.#loadSql, [textArray(keys)]);
    return inOrder(keys, rows);
  }

  async put(run: RunSql, rows: readonly PutRow[], form: JsonForm, ceiling?: Ceiling): Promise<RowResult[]> {
    const stored = rows.map((row) => toStored(row, form));
    const keys = textArray(rows.map((row) => row.key));
    const versions = versionArray(rows);
    const { count } = await run(this.#putSql + beyond(ceiling), [
      keys,
      textArray(stored.map((row) => row.value)),
      byteaArray(stored.map((row) => row.bytes)),
      textArray(stored.map((row) => row.type)),
      versions,
    ]);
    if (count === rows.length) return rows.map(() => WRITTEN);
    // Which of them came too late is asked for only where some did: answers with rows cost more than counts.
    return outcomes(rows, (await run(this.#newerSql, [keys, versions])).rows);
  }

  async remove(run: RunSql, rows: readonly DeleteRow[], ceiling?: Ceiling): Promise<RowResult[]> {
    const result = await run(this.#removeSql(ceiling), [textArray(rows.map((row) => row.key)), versionArray(rows)]);
    return outcomes(rows, result.rows);
  }
}

function versionArray(rows: readonly { readonly version: number }[]): string {
  return `{${rows.map((row) => row.version).join(",")}}`;
}

function beyond(ceiling: Ceiling): string {
  return ceiling === undefined ? "" : ` OR stored.version > ${ceiling}`;
}

function outcomes(rows: readonly (PutRow | DeleteRow)[], newer: readonly unknown[]): RowResult[] {
  const versions = new Map(newer.map((row) => [keyText(cell(row, "key")), Number(cell(row, "version"))]));
  return rows.map((row) => {
    const version = versions.get(row.key);
    return version === undefined ? WRITTEN : { kind: "superseded", version };
  });
}

/** An array as PostgreSQL reads it: `{"a","b",NULL}`. */
function textArray(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? "NULL" : quoted(value))).join(",")}}`;
}

/** A JSON string is quoted as PostgreSQL does it unless it escapes more than `"` and `\`, and made several times as fast. */
function quoted(text: string): string {
  return ESCAPED_BY_JSON.test(text) ? `"${text.replace(/[\\"]/g, "\\$&")}"` : JSON.stringify(text);
}

function byteaArray(values: readonly (Buffer | null)[]): string {
  return `{${values.map((value) => (value === null ? "NULL" : `"\\\\x${value.toString("hex")}"`)).join(",")}}`;
}
