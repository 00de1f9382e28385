/** MySQL and MariaDB. */
import { factsOf } from "./client-error.ts";
import type { Blame, SqlDialect } from "./mapping.ts";

/** SQLSTATE classes in which one row's content is to blame: data, constraint, what triggers signal. */
const ROW_CLASSES = new Set(["22", "23", "44", "45"]);

/**
 * The same where the SQLSTATE says no more than HY000: no default for a field, packet too large, incorrect string value,
 * generated column, check constraint (MySQL and MariaDB).
 */
const ROW_NUMBERS = new Set(["1364", "1153", "1366", "1906", "3819", "4025"]);

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
  blame(error): Blame {
    const { errno, sqlState } = factsOf(error);
    return ROW_CLASSES.has(sqlState.slice(0, 2)) || ROW_NUMBERS.has(errno) ? "row" : "moment";
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
