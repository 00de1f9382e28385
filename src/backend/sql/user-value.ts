/**
 * What a row of the user's own query is as a value.
 *
 * - One column, or a column named `value`: JSON types and text that is JSON as they are, digit for digit; other text as
 *   a JSON string; binary as bytes (with a column `content_type`: of that type).
 * - Several columns: a JSON object of them.
 */
import { JSON_CONTENT_TYPE } from "../../engine/engine.ts";
import type { BackendValue } from "../backend.ts";
import type { SqlColumn } from "./mapping.ts";

const BINARY_CONTENT_TYPE = "application/octet-stream";

/** PostgreSQL's numbers of types (pg_type.dat): how the text of a value is written as JSON. */
const BOOL = 16;
const BYTEA = 17;
const NUMBERS = new Set([20, 21, 23, 26, 700, 701, 1700]);
const JSON_TYPES = new Set([114, 3802]);
/** JSON knows no NaN and no Infinity. */
const JSON_NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

/** A raw row: the server's text of each column, or null. Null = not such a row. */
export function valueOfRawRow(row: unknown, columns: readonly SqlColumn[]): BackendValue | null {
  if (!Array.isArray(row)) return null;
  const texts = row.map((cell: unknown) => (cell instanceof Uint8Array ? Buffer.from(cell).toString("utf8") : null));
  const named = columns.findIndex((column) => column.name === "value");
  const single = named >= 0 ? named : columns.length === 1 ? 0 : -1;
  if (single < 0) {
    const members = columns.map(
      (column, i) => `${JSON.stringify(column.name)}:${jsonOfText(texts[i] ?? null, column.type)}`,
    );
    return jsonValue(`{${members.join(",")}}`);
  }
  const text = texts[single] ?? null;
  const type = columns[single]?.type ?? 0;
  if (type === BYTEA && text !== null) {
    const contentType = texts[columns.findIndex((column) => column.name === "content_type")];
    return { bytes: Buffer.from(text.slice(2), "hex"), contentType: contentType ?? BINARY_CONTENT_TYPE };
  }
  return jsonValue(isPlainText(type) ? jsonOrString(text) : jsonOfText(text, type));
}

/** A row as an object by column name. Null = not such a row. */
export function valueOfRow(row: unknown): BackendValue | null {
  if (typeof row !== "object" || row === null) return null;
  const names = Object.keys(row);
  const single = names.includes("value") ? "value" : names.length === 1 ? names[0] : undefined;
  if (single === undefined) return jsonValue(JSON.stringify(row, binaryAsBase64));
  const cell: unknown = Reflect.get(row, single);
  if (cell instanceof Uint8Array) {
    const contentType: unknown = Reflect.get(row, "content_type");
    return {
      bytes: Buffer.from(cell.buffer, cell.byteOffset, cell.byteLength),
      contentType: typeof contentType === "string" ? contentType : BINARY_CONTENT_TYPE,
    };
  }
  return jsonValue(typeof cell === "string" ? jsonOrString(cell) : (JSON.stringify(cell, binaryAsBase64) ?? "null"));
}

function jsonOfText(text: string | null, type: number): string {
  if (text === null) return "null";
  if (JSON_TYPES.has(type)) return text;
  if (type === BOOL) return text === "t" ? "true" : "false";
  if (NUMBERS.has(type) && JSON_NUMBER.test(text)) return text;
  if (type === BYTEA) return JSON.stringify(Buffer.from(text.slice(2), "hex").toString("base64"));
  return JSON.stringify(text);
}

function isPlainText(type: number): boolean {
  return !JSON_TYPES.has(type) && !NUMBERS.has(type) && type !== BOOL;
}

function jsonOrString(text: string | null): string {
  if (text === null) return "null";
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

function jsonValue(text: string): BackendValue {
  return { bytes: Buffer.from(text, "utf8"), contentType: JSON_CONTENT_TYPE };
}

function binaryAsBase64(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}
