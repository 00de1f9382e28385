/** What Bun's SQL client says in its errors, read without trusting their shape. */
export interface ClientErrorFacts {
  /** Such as `ERR_POSTGRES_SERVER_ERROR`, `SQLITE_BUSY`. */
  readonly code: string;
  /** SQLSTATE in PostgreSQL, the error number elsewhere; empty = none. */
  readonly errno: string;
  /** SQLSTATE in MySQL; empty = none. */
  readonly sqlState: string;
  readonly message: string;
}

export function factsOf(error: unknown): ClientErrorFacts {
  if (!(error instanceof Error)) return { code: "", errno: "", sqlState: "", message: String(error) };
  return {
    code: text(error, "code"),
    errno: text(error, "errno"),
    sqlState: text(error, "sqlState"),
    message: error.message,
  };
}

function text(error: Error, property: string): string {
  const value: unknown = Reflect.get(error, property);
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}
