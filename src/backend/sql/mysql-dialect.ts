/** MySQL and MariaDB. */
import { factsOf } from "./client-error.ts";
import { cell, type SqlDialect } from "./mapping.ts";

/** SQLSTATE classes of data, of broken constraints, and of what triggers signal. */
const DATA_STATES = /^(22|23|44|45)/;

/**
 * The same where the SQLSTATE says no more than HY000: no default for a field, packet too large, incorrect string value,
 * generated column, check constraint (MySQL and MariaDB).
 */
const DATA_NUMBERS = new Set(["1364", "1153", "1366", "1906", "3819", "4025"]);

/**
 * Disk or table full, no memory, an error of the storage engine, locks (deadlock, wait, changed since read), too many
 * connections or transactions, a resource of the user's used up, stopped by an operator or a time limit, read-only.
 */
const PASSING = new Set(
  "1020 1021 1028 1030 1037 1038 1041 1114 1158 1159 1160 1161 1180 1203 1205 1206 1213 1226 1290 1317 1637 1792 1836 1969 3024".split(
    " ",
  ),
);

/** Shutdown in progress, server gone, killed, too many connections, read-only while failing over. */
const ENDED = new Set(["1053", "2006", "2013", "1040", "1927", "4031", "1290"]);

export const mysqlDialect: SqlDialect = {
  name: "mysql",
  // Strict mode, because without it a value that does not fit is cut short in silence. The two servers name the limit on
  // a statement's time differently; each reads its own comment and skips the other's.
  sessionSetup: (statementTimeoutMs) => [
    `SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), innodb_lock_wait_timeout = ${Math.ceil(statementTimeoutMs / 1000)}` +
      ` /*M!100101 , max_statement_time = ${statementTimeoutMs / 1000} */` +
      ` /*!50708 , max_execution_time = ${Math.ceil(statementTimeoutMs)} */`,
  ],
  sessions: {
    // A lock of that name lasts exactly as long as its session; ids of connections come again after a restart.
    async name(run, name) {
      const { rows } = await run("SELECT GET_LOCK(?, 0) AS got", [name]);
      if (Number(cell(rows[0], "got")) !== 1) throw new Error(`GET_LOCK('${name}') was refused`);
    },
    async find(run, names) {
      const found = new Map<string, number>();
      for (const name of names) {
        const { rows } = await run("SELECT IS_USED_LOCK(?) AS id", [name]);
        const id = cell(rows[0], "id");
        if (id !== null) found.set(name, Number(id));
      }
      return found;
    },
    async end(run, _name, id) {
      await run(`KILL CONNECTION ${id}`, []).catch((error: unknown) => {
        // It is over already.
        if (factsOf(error).errno !== "1094") throw error;
      });
    },
  },
  isPassing(error): boolean {
    const { errno, sqlState } = factsOf(error);
    return PASSING.has(errno) || ENDED.has(errno) || /^(08|40)/.test(sqlState);
  },
  blamesData(error): boolean {
    const { errno, sqlState } = factsOf(error);
    return DATA_STATES.test(sqlState) || DATA_NUMBERS.has(errno);
  },
  refusesText(error): boolean {
    const { errno, sqlState } = factsOf(error);
    return sqlState.startsWith("22") || errno === "1366";
  },
  isMissingTable: (error) => factsOf(error).errno === "1146",
  isConnectionLost(error) {
    const { code, errno } = factsOf(error);
    return errno === "" ? code.startsWith("ERR_MYSQL_") : ENDED.has(errno);
  },
};
