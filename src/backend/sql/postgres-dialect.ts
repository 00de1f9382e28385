import { factsOf } from "./client-error.ts";
import type { Blame, SqlDialect } from "./mapping.ts";

/**
 * SQLSTATE classes in which one row's content is to blame: data exception, integrity constraint, program limit (a JSON
 * text nested too deep for the server's stack), and what triggers raise. Everything else (no connection, no right, no
 * table, no room, a deadlock) can be mended without touching the row.
 */
const ROW_CLASSES = new Set(["22", "23", "44", "54", "P0"]);

/** Admin shutdown, crash shutdown, cannot connect now, idle session ended. */
const ENDED = /^(08|57P)/;

export const postgresDialect: SqlDialect = {
  name: "postgres",
  sessionSetup: (statementTimeoutMs) => [`SET statement_timeout = ${Math.ceil(statementTimeoutMs)}`],
  blame(error): Blame {
    const { errno } = factsOf(error);
    return ROW_CLASSES.has(errno.slice(0, 2)) ? "row" : "moment";
  },
  refusesText: (error) => /^(22|54)/.test(factsOf(error).errno),
  isMissingTable: (error) => factsOf(error).errno === "42P01",
  isConnectionLost(error) {
    const { code, errno } = factsOf(error);
    if (errno !== "") return ENDED.test(errno);
    // No SQLSTATE: the client itself gave up (connection, TLS, protocol), so what the wire holds is not known.
    return code.startsWith("ERR_POSTGRES_");
  },
};
