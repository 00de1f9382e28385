import { factsOf } from "./client-error.ts";
import type { SqlDialect } from "./mapping.ts";

/** How long a statement waits for another process's lock. The client runs SQLite in the calling thread, so: not long. */
const BUSY_TIMEOUT_MS = 50;

export const sqliteDialect: SqlDialect = {
  name: "sqlite",
  sessionSetup: () => [`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`, "PRAGMA journal_mode = WAL"],
  // It runs in the calling thread.
  sessions: null,
  isPassing: (error) =>
    /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|PROTOCOL|INTERRUPT|CORRUPT|NOTADB|PERM|AUTH)/.test(
      factsOf(error).code,
    ),
  blamesData: (error) => /^SQLITE_(CONSTRAINT|MISMATCH|TOOBIG)/.test(factsOf(error).code),
  refusesText: (error) => /^SQLITE_MISMATCH/.test(factsOf(error).code),
  isMissingTable: (error) => factsOf(error).message.startsWith("no such table"),
  isConnectionLost(error) {
    return /^SQLITE_(CANTOPEN|NOTADB|CORRUPT|IOERR)|^ERR_SQLITE_CONNECTION/.test(factsOf(error).code);
  },
};
