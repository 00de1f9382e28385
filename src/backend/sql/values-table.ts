/**
 * The default table in MySQL, MariaDB and SQLite: batches as lists of `(?, ?, …)`.
 *
 * A list is padded to the next power of two with its last row again, which changes nothing, so that a session prepares
 * a dozen texts and not one for each size. Neither server can say per row whether an upsert did anything, so the
 * versions are read back.
 */
import type { LoadResult, RowResult } from "../backend.ts";
import type { Ceiling, DeleteRow, JsonForm, PutRow, RunSql, SqlMapping } from "./mapping.ts";
import { inOrder, keyText, toStored } from "./stored-value.ts";
import { quoteTable } from "./table-name.ts";

/** What the two dialects say differently. `table` is quoted. */
interface Texts {
  readonly create: string;
  readonly upsertHead: string;
  upsertTail(ceiling: Ceiling): string;
  /** Deletes the rows whose (key, version) are listed, where they are not newer, or lie beyond the ceiling. */
  remove(count: number, ceiling: Ceiling): string;
}

export class ValuesTable implements SqlMapping {
  readonly loadBatchKeys = 500;
  readonly writeBatchRows = 512;
  readonly comparesVersions = true;
  readonly hasBytesForm = true;
  readonly probe: string;
  readonly create: readonly string[];

  private constructor(
    private readonly table: string,
    private readonly texts: Texts,
  ) {
    this.probe = `SELECT \`key\`, \`value\`, \`bytes\`, content_type, version FROM ${table} WHERE 1 = 0`;
    this.create = [texts.create];
  }

  /**
   * Keys are binary: case and trailing spaces count, in every version of both servers.
   * Throws `BackendConfigError` where `tableName` is not one.
   */
  static mysql(tableName: string): ValuesTable {
    const table = quoteTable(tableName, "`");
    const wins = (ceiling: Ceiling) => `VALUES(version) >= version${beyond(ceiling, "version")}`;
    const newer = (column: string, ceiling: Ceiling) =>
      `${column} = IF(${wins(ceiling)}, VALUES(${column}), ${column})`;
    return new ValuesTable(table, {
      create: `CREATE TABLE IF NOT EXISTS ${table} (\`key\` VARBINARY(1024) NOT NULL PRIMARY KEY,
        \`value\` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, \`bytes\` LONGBLOB,
        content_type VARCHAR(255) NOT NULL, version BIGINT NOT NULL,
        updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)) ENGINE=InnoDB`,
      upsertHead: `INSERT INTO ${table} (\`key\`, \`value\`, \`bytes\`, content_type, version) VALUES `,
      // The assignments are done from left to right: the version is compared by all and set last.
      upsertTail: (ceiling) => ` ON DUPLICATE KEY UPDATE ${newer("`value`", ceiling)}, ${newer("`bytes`", ceiling)},
        ${newer("content_type", ceiling)}, updated_at = IF(${wins(ceiling)}, CURRENT_TIMESTAMP(3), updated_at),
        ${newer("version", ceiling)}`,
      remove: (count, ceiling) =>
        `DELETE FROM ${table} WHERE ${list(`(\`key\` = ? AND (version <= ?${beyond(ceiling, "version")}))`, count, " OR ")}`,
    });
  }

  /** Throws `BackendConfigError` where `tableName` is not one. */
  static sqlite(tableName: string): ValuesTable {
    const table = quoteTable(tableName, '"');
    return new ValuesTable(table, {
      create: `CREATE TABLE IF NOT EXISTS ${table} (key TEXT NOT NULL PRIMARY KEY, value TEXT, bytes BLOB,
        content_type TEXT NOT NULL, version INTEGER NOT NULL,
        updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))`,
      upsertHead: `INSERT INTO ${table} (key, value, bytes, content_type, version) VALUES `,
      upsertTail: (ceiling) => ` ON CONFLICT (key) DO UPDATE SET value = excluded.value, bytes = excluded.bytes,
        content_type = excluded.content_type, version = excluded.version, updated_at = excluded.updated_at
        WHERE version <= excluded.version${beyond(ceiling, `${table}.version`)}`,
      remove: (count, ceiling) => `WITH gone (key, version) AS (VALUES ${list("(?, ?)", count, ", ")})
        DELETE FROM ${table} WHERE key IN (SELECT stored.key FROM gone JOIN ${table} AS stored
        ON stored.key = gone.key AND (stored.version <= gone.version${beyond(ceiling, "stored.version")}))`,
    });
  }

  async load(run: RunSql, keys: readonly string[]): Promise<LoadResult[]> {
    const padded = pad(keys);
    const { rows } = await run(
      `SELECT \`key\`, \`value\`, \`bytes\`, content_type FROM ${this.table} WHERE \`key\` IN (${list("?", padded.length, ", ")})`,
      padded,
    );
    return inOrder(keys, rows);
  }

  async put(run: RunSql, rows: readonly PutRow[], form: JsonForm, ceiling?: Ceiling): Promise<RowResult[]> {
    const padded = pad(rows);
    const parameters: unknown[] = [];
    for (const row of padded) {
      const { value, bytes, type } = toStored(row, form);
      parameters.push(row.key, value, bytes, type, row.version);
    }
    const { upsertHead, upsertTail } = this.texts;
    await run(upsertHead + list("(?, ?, ?, ?, ?)", padded.length, ", ") + upsertTail(ceiling), parameters);
    return this.#outcomes(run, rows);
  }

  async remove(run: RunSql, rows: readonly DeleteRow[], ceiling?: Ceiling): Promise<RowResult[]> {
    const padded = pad(rows);
    const parameters = padded.flatMap((row) => [row.key, row.version]);
    await run(this.texts.remove(padded.length, ceiling), parameters);
    return this.#outcomes(run, rows);
  }

  async #outcomes(run: RunSql, rows: readonly (PutRow | DeleteRow)[]): Promise<RowResult[]> {
    const padded = pad(rows.map((row) => row.key));
    const stored = await run(
      `SELECT \`key\`, version FROM ${this.table} WHERE \`key\` IN (${list("?", padded.length, ", ")})`,
      padded,
    );
    const versions = new Map<string, number>();
    for (const row of stored.rows) {
      if (typeof row !== "object" || row === null) continue;
      versions.set(keyText(Reflect.get(row, "key")), Number(Reflect.get(row, "version")));
    }
    return rows.map((row) => {
      const version = versions.get(row.key) ?? 0;
      return version > row.version ? { kind: "superseded", version } : { kind: "written" };
    });
  }
}

function beyond(ceiling: Ceiling, version: string): string {
  return ceiling === undefined ? "" : ` OR ${version} > ${ceiling}`;
}

function list(item: string, count: number, separator: string): string {
  return new Array<string>(count).fill(item).join(separator);
}

function pad<T>(items: readonly T[]): T[] {
  const padded = [...items];
  const last = items.at(-1);
  if (last === undefined) return padded;
  const size = 2 ** Math.ceil(Math.log2(items.length));
  while (padded.length < size) padded.push(last);
  return padded;
}
