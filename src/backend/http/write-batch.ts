/**
 * Many writes in one call, for endpoints that say that they take them (`SERV_CACHE_BACKEND_BATCH_PATH`): the body lists the
 * operations, in no particular order, each for a key of its own; the answer lists a status for each, in the same order.
 *
 * ```
 * POST {base}{path}
 * {"operations":[{"op":"put","key":"user:42","version":7,"value":{"name":"Ada"}},
 *                {"op":"put","key":"logo","version":8,"content_type":"image/png","value_base64":"iVBO…"},
 *                {"op":"delete","key":"user:43","version":9}]}
 *
 * {"results":[{"status":200},{"status":200},{"status":404}]}
 * ```
 */
import { holdsJson } from "../../model/entry.ts";
import type { BackendRow } from "../backend.ts";

/** What an endpoint says of one row, as it would have said of a call for it alone. */
export interface RowAnswer {
  readonly status: number;
  /** Why it is refused; empty = it does not say. */
  readonly error: string;
  /** What it has of the key; NaN = it does not say. */
  readonly version: number;
}

/** A value of JSON goes as it is, digit for digit. */
export function batchBody(rows: readonly BackendRow[]): Buffer {
  const parts: Buffer[] = [];
  for (const row of rows) {
    const start = parts.length === 0 ? '{"operations":[' : ",";
    const head = `${start}{"op":"${row.kind}","key":${JSON.stringify(row.key)},"version":${row.version}`;
    if (row.kind === "delete") {
      parts.push(Buffer.from(`${head}}`));
    } else if (holdsJson(row.value)) {
      parts.push(Buffer.from(`${head},"value":`), row.value.bytes, Buffer.from("}"));
    } else {
      const type = JSON.stringify(row.value.contentType);
      parts.push(Buffer.from(`${head},"content_type":${type},"value_base64":"${row.value.bytes.toString("base64")}"}`));
    }
  }
  parts.push(Buffer.from("]}"));
  return Buffer.concat(parts);
}

/** Null = the answer is not of this form, or not for as many rows. */
export function batchAnswers(body: Buffer, rows: number): RowAnswer[] | null {
  const results = resultsOf(body);
  if (results === null || results.length !== rows) return null;
  const answers: RowAnswer[] = [];
  for (const result of results) {
    if (typeof result !== "object" || result === null) return null;
    const status: unknown = Reflect.get(result, "status");
    if (typeof status !== "number" || !Number.isInteger(status)) return null;
    const error: unknown = Reflect.get(result, "error");
    const version: unknown = Reflect.get(result, "version");
    answers.push({
      status,
      error: typeof error === "string" ? error : "",
      version: typeof version === "number" ? version : Number.NaN,
    });
  }
  return answers;
}

function resultsOf(body: Buffer): unknown[] | null {
  try {
    const parsed: unknown = JSON.parse(body.toString("utf8"));
    const results: unknown = typeof parsed === "object" && parsed !== null ? Reflect.get(parsed, "results") : null;
    return Array.isArray(results) ? results : null;
  } catch {
    return null;
  }
}
