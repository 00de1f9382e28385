import { factsOf } from "./client-error.ts";
import { cell, type SqlDialect } from "./mapping.ts";

/** Classes of data exceptions, broken constraints, limits that a row exceeds, and what triggers raise. */
const DATA = /^(22|23|44|54|P0)/;

/**
 * No connection, no right now, rolled back for others (deadlock, serialization), no resources, a lock not had, stopped by
 * an operator or a time limit, a system error; a transaction that is read-only.
 */
const PASSING = /^(08|28|40|53|55P03|55006|57|58|25006)/;

/** Admin shutdown, crash shutdown, cannot connect now, idle session ended. */
const ENDED = /^(08|57P)/;

export const postgresDialect: SqlDialect = {
  name: "postgres",
  // One statement: on a slow way each costs a turn. Values are read from the server's text: whatever its defaults are, the
  // text is one that can be read.
  sessionSetup: (statementTimeoutMs) => [
    `SELECT set_config('statement_timeout', '${Math.ceil(statementTimeoutMs)}', false),
      set_config('bytea_output', 'hex', false), set_config('datestyle', 'ISO', false),
      set_config('intervalstyle', 'iso_8601', false), set_config('extra_float_digits', '1', false)`,
  ],
  sessions: {
    // Poolers keep this setting with the client, so a connection that has passed to another bears the other's name.
    name: async (run, name) => void (await run(`SET application_name = '${name}'`, [])),
    async find(run, names) {
      const { rows } = await run(
        "SELECT application_name, pid FROM pg_stat_activity WHERE application_name = ANY($1::text[])",
        [`{${names.join(",")}}`],
      );
      return new Map(rows.map((row) => [String(cell(row, "application_name")), Number(cell(row, "pid"))]));
    },
    async end(run, name, id) {
      await run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int AND application_name = $2",
        [id, name],
      );
    },
  },
  isPassing: (error) => PASSING.test(factsOf(error).errno),
  blamesData: (error) => DATA.test(factsOf(error).errno),
  refusesText: (error) => /^(22|54)/.test(factsOf(error).errno),
  isMissingTable: (error) => factsOf(error).errno === "42P01",
  isConnectionLost(error) {
    const { code, errno } = factsOf(error);
    if (errno !== "") return ENDED.test(errno);
    // No SQLSTATE: the client itself gave up (connection, TLS, protocol), so what the wire holds is not known.
    return code.startsWith("ERR_POSTGRES_");
  },
};
