/** A value as the default table keeps it: JSON in `value`, anything else in `bytes` with its content type. */

import { isUtf8 } from "node:buffer";
import { holdsJson, JSON_ATTRIBUTES, valueWith } from "../../model/entry.ts";
import { BackendError, type LoadResult } from "../backend.ts";
import type { JsonForm, PutRow } from "./mapping.ts";

export interface StoredValue {
  readonly value: string | null;
  readonly bytes: Buffer | null;
  readonly type: string;
}

export function toStored({ value }: PutRow, form: JsonForm): StoredValue {
  const { bytes, contentType: type } = value;
  const isText = form === "text" && holdsJson(value) && isUtf8(bytes);
  return isText ? { value: bytes.toString("utf8"), bytes: null, type } : { value: null, bytes, type };
}

/** Reads `value`, `bytes` and `content_type` of a row of the default table. */
function fromStored(row: object): LoadResult {
  const value: unknown = Reflect.get(row, "value");
  if (typeof value === "string") {
    return { kind: "found", value: valueWith(Buffer.from(value, "utf8"), JSON_ATTRIBUTES) };
  }
  const bytes: unknown = Reflect.get(row, "bytes");
  const contentType: unknown = Reflect.get(row, "content_type");
  if (bytes instanceof Uint8Array && typeof contentType === "string") {
    return {
      kind: "found",
      value: { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), contentType },
    };
  }
  if (value === null && bytes === null) return { kind: "absent" };
  return {
    kind: "failed",
    error: new BackendError("ERR_BACKEND_ANSWER", "a row of the table holds neither value nor bytes of a known form"),
  };
}

/** A key as the database gives it: text, or bytes where the column is binary. */
export function keyText(key: unknown): string {
  return key instanceof Uint8Array ? Buffer.from(key).toString("utf8") : String(key);
}

/** Puts the results of rows found by key into the order that was asked for. */
export function inOrder(keys: readonly string[], rows: readonly unknown[]): LoadResult[] {
  const found = new Map<string, LoadResult>();
  for (const row of rows) {
    if (typeof row === "object" && row !== null) found.set(keyText(Reflect.get(row, "key")), fromStored(row));
  }
  return keys.map((key) => found.get(key) ?? { kind: "absent" });
}
