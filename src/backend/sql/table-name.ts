import { BackendConfigError } from "../backend.ts";

const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$/;

/** Quotes `table` or `schema.table`. Throws `BackendConfigError` for anything else. */
export function quoteTable(name: string, quote: '"' | "`"): string {
  if (!TABLE_NAME.test(name)) {
    throw new BackendConfigError(
      `SERV_CACHE_BACKEND_TABLE ${JSON.stringify(name)} is not a table name: letters, digits and _, at most 63, with a schema and a dot before it where needed`,
    );
  }
  return name
    .split(".")
    .map((part) => quote + part + quote)
    .join(".");
}
