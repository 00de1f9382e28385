/** From `SERV_CACHE_BACKEND_DB` and what belongs to it to a backend. Nothing is connected before the first call. */
import { SQL } from "bun";
import { type Backend, BackendConfigError } from "./backend.ts";
import { HttpBackend } from "./http/http-backend.ts";
import type { AheadRowsOptions } from "./sql/ahead-rows.ts";
import type { SqlDialect, SqlMapping } from "./sql/mapping.ts";
import { mysqlDialect } from "./sql/mysql-dialect.ts";
import { postgresDialect } from "./sql/postgres-dialect.ts";
import { PostgresTable } from "./sql/postgres-table.ts";
import { SqlBackend } from "./sql/sql-backend.ts";
import { sqliteDialect } from "./sql/sqlite-dialect.ts";
import { UserSql, type UserSqlTexts } from "./sql/user-sql.ts";
import { ValuesTable } from "./sql/values-table.ts";

export interface BackendSettings {
  /** `http(s)://`, `postgres(ql)://`, `mysql://`, `mariadb://`, `sqlite:path` */
  readonly url: string;
  /** Name of the default table. */
  readonly table: string;
  /** SQL of the user's own in place of the default table; null = the default table. */
  readonly userSql: UserSqlTexts | null;
  /** PEM of the authority that signed the server's certificate; null = what the URL and the system say. */
  readonly tlsCa: string | null;
  readonly loadConnections: number;
  readonly writeConnections: number;
  readonly loadTimeoutMs: number;
  readonly writeTimeoutMs: number;
  /** SQL carries the trace context of sampled calls; default false. */
  readonly sqlComments?: boolean;
  /** See `HttpBackendOptions`; default null. */
  readonly batchPath?: string | null;
  /** See `HttpBackendOptions`; default false. */
  readonly allowsHtml?: boolean;
  /** See `SqlBackendOptions`; default null. */
  readonly sessionsFile?: string | null;
  /** See `SqlBackendOptions`; default null. */
  readonly aheadRows?: AheadRowsOptions | null;
}

/** Connections that rest are closed before firewalls forget them, which would show as a timeout only. */
const IDLE_TIMEOUT_S = 240;

/** Rows of one write that an HTTP backend gets at the same time. */
const HTTP_WRITE_CONCURRENCY = 32;

/** Throws `BackendConfigError` for settings that can't be used. */
export function createBackend(settings: BackendSettings): Backend {
  const { url } = settings;
  if (/^https?:/i.test(url)) return createHttp(settings);
  if (settings.batchPath !== undefined && settings.batchPath !== null) {
    throw new BackendConfigError("SERV_CACHE_BACKEND_BATCH_PATH needs an HTTP backend, SERV_CACHE_BACKEND_DB is none");
  }
  if (/^(postgres|postgresql):/i.test(url))
    return createSql(settings, postgresDialect, serverClient(settings, "postgres"));
  if (/^(mysql|mysql2|mariadb):/i.test(url)) return createSql(settings, mysqlDialect, serverClient(settings, "mysql"));
  if (/^sqlite:/i.test(url)) return createSqlite(settings);
  throw new BackendConfigError(
    "SERV_CACHE_BACKEND_DB is none of http://, https://, postgres://, mysql:// and sqlite:path",
  );
}

function createHttp(settings: BackendSettings): Backend {
  if (settings.userSql !== null) {
    throw new BackendConfigError("SERV_CACHE_BACKEND_READ_SQL needs a database, SERV_CACHE_BACKEND_DB is HTTP");
  }
  return new HttpBackend({
    baseUrl: parseUrl(settings.url),
    fetch: (url, init) => fetch(url, init),
    writeConcurrency: HTTP_WRITE_CONCURRENCY,
    tlsCa: settings.tlsCa,
    batchPath: settings.batchPath ?? null,
    allowsHtml: settings.allowsHtml ?? false,
  });
}

function createSqlite(settings: BackendSettings): Backend {
  const filename = settings.url.replace(/^sqlite:(\/\/)?/i, "");
  if (filename === "" || filename === ":memory:") {
    throw new BackendConfigError("SERV_CACHE_BACKEND_DB names no file: sqlite:/path/to/file.db");
  }
  return new SqlBackend({
    dialect: sqliteDialect,
    mapping: createMapping(settings, sqliteDialect),
    connect: () => new SQL({ adapter: "sqlite", filename, create: true }),
    label: `sqlite ${filename}`,
    // SQLite runs in the calling thread: more connections would not do more at the same time.
    loadConnections: 1,
    writeConnections: 1,
    loadStatementTimeoutMs: settings.loadTimeoutMs,
    writeStatementTimeoutMs: settings.writeTimeoutMs,
    comments: settings.sqlComments ?? false,
    sessionsFile: settings.sessionsFile ?? null,
    aheadRows: settings.aheadRows ?? null,
  });
}

function createSql(settings: BackendSettings, dialect: SqlDialect, connect: (onClose: () => void) => SQL): Backend {
  return new SqlBackend({
    dialect,
    mapping: createMapping(settings, dialect),
    connect,
    label: parseUrl(settings.url).host,
    loadConnections: settings.loadConnections,
    writeConnections: settings.writeConnections,
    loadStatementTimeoutMs: settings.loadTimeoutMs,
    writeStatementTimeoutMs: settings.writeTimeoutMs,
    comments: settings.sqlComments ?? false,
    sessionsFile: settings.sessionsFile ?? null,
    aheadRows: settings.aheadRows ?? null,
  });
}

function createMapping(settings: BackendSettings, dialect: SqlDialect): SqlMapping {
  if (settings.userSql !== null) return new UserSql(dialect, settings.userSql);
  if (dialect.name === "postgres") return new PostgresTable(settings.table);
  return dialect.name === "mysql" ? ValuesTable.mysql(settings.table) : ValuesTable.sqlite(settings.table);
}

function serverClient(settings: BackendSettings, adapter: "postgres" | "mysql"): (onClose: () => void) => SQL {
  const { url, tlsCa } = settings;
  // Given on its own, because PGDATABASE and its like would win over the URL's.
  const database = decodeURIComponent(parseUrl(url).pathname.slice(1));
  const options: Bun.SQL.PostgresOrMySQLOptions = {
    url,
    adapter,
    max: 1,
    idleTimeout: IDLE_TIMEOUT_S,
    connectionTimeout: Math.max(1, Math.ceil(settings.loadTimeoutMs / 1000)),
    ...(database === "" ? {} : { database }),
    ...(tlsCa === null ? {} : { tls: { ca: tlsCa } }),
    // Types of parameters are the server's to find where the text is the user's own.
    ...(adapter === "postgres" && settings.userSql !== null ? { prepare: false } : {}),
  };
  return (onClose) => new SQL({ ...options, onclose: onClose });
}

function parseUrl(url: string): URL {
  try {
    const parsed = new URL(url);
    for (const part of [parsed.username, parsed.password, parsed.pathname]) decodeURIComponent(part);
    // Most likely a # of the password, which makes its beginning the port.
    if (parsed.hash !== "") throw new Error("a fragment");
    return parsed;
  } catch (cause) {
    const message = "SERV_CACHE_BACKEND_DB can't be read as a URL; percent-encode user and password";
    throw new BackendConfigError(message, { cause });
  }
}
