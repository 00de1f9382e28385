/**
 * One connection to a database, made when it is needed and thrown away when it is in doubt.
 *
 * A query of Bun's client against a server that hangs never settles by itself, and cancelling does not help, because the
 * server is asked to cancel. Closing the client with no time to wait is what ends it; so each session has a client of
 * its own, with one connection, and a call that runs out of time costs no other call anything.
 */
import type { SQL } from "bun";
import { BackendError } from "../backend.ts";
import { abortError } from "../call-signal.ts";
import { factsOf } from "./client-error.ts";
import type { RunSql, SqlColumn, SqlDialect, SqlResult } from "./mapping.ts";
import type { WriteFence } from "./write-fence.ts";

export interface SessionOptions {
  readonly dialect: SqlDialect;
  /** Makes a client with one connection; `onClose` is to be called when the connection ends. */
  readonly connect: (onClose: () => void) => SQL;
  readonly setup: readonly string[];
  /** Names the server in errors, without credentials. */
  readonly label: string;
  /** Of sessions that write; null = nothing that is given up has to be ended. */
  readonly fence: WriteFence | null;
}

export class Session {
  #client: SQL | null = null;
  #isSetUp = false;
  #name = "";

  constructor(private readonly options: SessionOptions) {}

  /** Of the connection that was used last, as its fence knows it. */
  get name(): string {
    return this.#name;
  }

  /** Throws a `BackendError` for time and connection; what the server refused is thrown as the client says it. */
  async run(
    text: string,
    parameters: readonly unknown[],
    signal: AbortSignal,
    form: "objects" | "raw" = "objects",
  ): Promise<SqlResult> {
    const client = this.#open();
    if (!this.#isSetUp) await this.#setUp(client, signal);
    return this.#query(client, text, parameters, signal, form);
  }

  /** Cuts the connection; the next `run` makes a new one. */
  discard(): void {
    const client = this.#client;
    if (this.#isSetUp) this.options.fence?.leave(this.#name);
    this.#client = null;
    this.#isSetUp = false;
    // Closing rejects what is under way; that it fails changes nothing: the client is not used again.
    client?.close({ timeout: 0 }).catch(() => {});
  }

  #open(): SQL {
    if (this.#client !== null) return this.#client;
    const client = this.options.connect(() => {
      // A connection that the client makes anew on its own would lack the session's settings.
      if (this.#client === client) this.discard();
    });
    this.#client = client;
    return client;
  }

  async #setUp(client: SQL, signal: AbortSignal): Promise<void> {
    const { setup, fence, label } = this.options;
    const run: RunSql = (text, parameters) => this.#query(client, text, parameters, signal, "objects");
    for (const statement of setup) await run(statement, []);
    const name = (await fence?.enter(run)) ?? "";
    if (this.#client !== client) {
      fence?.leave(name);
      throw new BackendError("ERR_BACKEND_UNAVAILABLE", `${label}: the connection ended while it was set up`);
    }
    this.#name = name;
    this.#isSetUp = true;
  }

  async #query(
    client: SQL,
    text: string,
    parameters: readonly unknown[],
    signal: AbortSignal,
    form: "objects" | "raw",
  ): Promise<SqlResult> {
    if (signal.aborted) throw abortError(signal, this.options.label);
    const onAbort = () => this.discard();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const query = client.unsafe<unknown[]>(text, [...parameters]);
      const rows = await (form === "raw" ? query.raw() : query);
      return { rows, columns: columnsOf(rows), count: countOf(rows) };
    } catch (error) {
      throw this.#explain(error, signal);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #explain(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return abortError(signal, this.options.label);
    if (!this.options.dialect.isConnectionLost(error)) return error;
    this.discard();
    const { code, message } = factsOf(error);
    return new BackendError("ERR_BACKEND_UNAVAILABLE", `${this.options.label}: ${message} (${code})`, { cause: error });
  }
}

function countOf(rows: unknown): number {
  const count: unknown = typeof rows === "object" && rows !== null ? Reflect.get(rows, "count") : null;
  return typeof count === "number" ? count : 0;
}

function columnsOf(rows: unknown): SqlColumn[] {
  const columns: unknown = typeof rows === "object" && rows !== null ? Reflect.get(rows, "columns") : null;
  if (!Array.isArray(columns)) return [];
  return columns.map((column: unknown) => {
    if (typeof column !== "object" || column === null) return { name: "", type: 0 };
    const name: unknown = Reflect.get(column, "name");
    const type: unknown = Reflect.get(column, "type");
    return { name: typeof name === "string" ? name : "", type: typeof type === "number" ? type : 0 };
  });
}
