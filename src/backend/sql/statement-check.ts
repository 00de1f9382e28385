/**
 * Tries the user's statements on a connection, without any effect: whether the database can prepare them, which columns
 * the query gives, and as what type each parameter is read.
 */
import { BackendConfigError, BackendError } from "../backend.ts";
import { factsOf } from "./client-error.ts";
import { INT16, INT32, INT64, type PartType, UINT64 } from "./key-types.ts";
import type { RunSql, SqlDialect } from "./mapping.ts";
import type { SqlTemplate } from "./sql-template.ts";

export interface NamedTemplate {
  readonly variable: string;
  readonly template: SqlTemplate;
}

const PREPARED = "servcache_check";

/**
 * Gives the types of the template's parameters, in their order. Throws `BackendConfigError` for a statement that the
 * database does not take, and what else fails as it is.
 */
export async function checkStatement(
  run: RunSql,
  dialect: SqlDialect,
  { variable, template }: NamedTemplate,
): Promise<readonly PartType[]> {
  try {
    if (dialect.name === "postgres") return await postgresTypes(run, template);
    if (dialect.name === "mysql") await prepareInMySql(run, template.text);
    else await run(`EXPLAIN ${template.text}`, nothingBound(template));
  } catch (error) {
    if (error instanceof BackendError || dialect.isPassing(error)) throw error;
    const message = `${variable}: the database does not take this statement: ${factsOf(error).message}`;
    throw new BackendConfigError(message, { cause: error });
  }
  return typesByColumn(run, dialect, template);
}

/** Asks the query for no key at all, in a transaction that is undone. Throws `BackendConfigError` for unusable columns. */
export async function checkColumns(run: RunSql, { variable, template }: NamedTemplate): Promise<void> {
  await run("BEGIN", []);
  try {
    const { columns } = await run(template.text, nothingBound(template));
    const names = columns.map((column) => column.name);
    if (names.length === 0) throw new BackendConfigError(`${variable} gives no columns; it has to be a query`);
    const twice = names.find((name, i) => names.indexOf(name) < i);
    if (twice !== undefined) {
      throw new BackendConfigError(`${variable} gives two columns named "${twice}"; rename one of them with AS`);
    }
  } finally {
    await run("ROLLBACK", []).catch(() => {});
  }
}

function nothingBound(template: SqlTemplate): null[] {
  return template.parameters.map(() => null);
}

const POSTGRES_TYPES = new Map<string, PartType>([
  ["smallint", INT16],
  ["integer", INT32],
  ["bigint", INT64],
  ["numeric", "numeric"],
  ["real", "numeric"],
  ["double precision", "numeric"],
  ["uuid", "uuid"],
  ["date", "date"],
]);

async function postgresTypes(run: RunSql, template: SqlTemplate): Promise<PartType[]> {
  // One transaction, so that a pooler between stays on one session.
  await run("BEGIN", []);
  try {
    await run(`PREPARE ${PREPARED} AS ${template.text}`, []);
    const { rows } = await run(
      `SELECT format_type(type, NULL) AS type FROM pg_prepared_statements,
        unnest(parameter_types::oid[]) WITH ORDINALITY AS given (type, place) WHERE name = '${PREPARED}' ORDER BY place`,
      [],
    );
    await run(`DEALLOCATE ${PREPARED}`, []);
    return rows.map((row) => POSTGRES_TYPES.get(member(row, "type")) ?? "text");
  } finally {
    await run("ROLLBACK", []).catch(() => {});
  }
}

async function prepareInMySql(run: RunSql, text: string): Promise<void> {
  // In hexadecimal, because how a literal is quoted depends on the server's mode.
  await run(`SET @${PREPARED} = CONVERT(0x${Buffer.from(text).toString("hex")} USING utf8mb4)`, []);
  await run(`PREPARE ${PREPARED} FROM @${PREPARED}`, []);
  await run(`DEALLOCATE PREPARE ${PREPARED}`, []);
}

const COLUMNS = {
  mysql: (marks: string) =>
    `SELECT column_name AS name, column_type AS type FROM information_schema.columns
      WHERE table_schema = DATABASE() AND LOWER(table_name) IN (${marks})`,
  sqlite: (marks: string) =>
    `SELECT columns.name AS name, columns.type AS type FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
      WHERE LOWER(tables.name) IN (${marks})`,
};

/** These servers tell no types of parameters: they are those of the columns that the text compares them with. */
async function typesByColumn(run: RunSql, dialect: SqlDialect, template: SqlTemplate): Promise<PartType[]> {
  const words = [...new Set(template.text.toLowerCase().match(/[\p{L}\p{N}_$]+/gu) ?? [])];
  const texts = COLUMNS[dialect.name === "mysql" ? "mysql" : "sqlite"];
  const { rows } = await run(texts(words.map(() => "?").join(", ")), words);
  const typesOf = (name: string) =>
    rows.filter((row) => member(row, "name").toLowerCase() === name).map((row) => member(row, "type").toLowerCase());
  return template.parameters.map(({ column, castTo }) => {
    if (castTo !== "") return typeOfColumn(castTo);
    const types = column === null ? [] : typesOf(column.toLowerCase());
    return types
      .map(typeOfColumn)
      .reduce((all, type) => (all === type ? all : "text"), types[0] === undefined ? "text" : typeOfColumn(types[0]));
  });
}

function typeOfColumn(type: string): PartType {
  if (type === "signed") return INT64;
  if (type === "unsigned") return UINT64;
  if (/\b(big|small|medium|tiny)?int(eger)?\b/.test(type)) return type.includes("unsigned") ? UINT64 : INT64;
  if (/^(decimal|numeric|float|double|real)/.test(type)) return "numeric";
  return type.startsWith("date") && !type.startsWith("datetime") ? "date" : "text";
}

function member(row: unknown, name: string): string {
  return typeof row === "object" && row !== null ? String(Reflect.get(row, name)) : "";
}
