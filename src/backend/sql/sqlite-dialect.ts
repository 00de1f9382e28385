import { factsOf } from "./client-error.ts";
import type { Blame, SqlDialect } from "./mapping.ts";

/** How long a statement waits for another process's lock. The client runs SQLite in the calling thread, so: not long. */
const BUSY_TIMEOUT_MS = 50;

export const sqliteDialect: SqlDialect = {
  name: "sqlite",
  sessionSetup: () => [`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`, "PRAGMA journal_mode = WAL"],
  blame(error): Blame {
    const { code } = factsOf(error);
    return /^SQLITE_(CONSTRAINT|MISMATCH|TOOBIG)/.test(code) ? "row" : "moment";
  },
  refusesText: (error) => /^SQLITE_MISMATCH/.test(factsOf(error).code),
  isMissingTable: (error) => factsOf(error).message.startsWith("no such table"),
  isConnectionLost(error) {
    return /^SQLITE_(CANTOPEN|NOTADB|CORRUPT|IOERR)|^ERR_SQLITE_CONNECTION/.test(factsOf(error).code);
  },
};
