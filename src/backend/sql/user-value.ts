/**
 * What a row of the user's own query is as a value.
 *
 * - One column, or a column named `value`: JSON types and text that is JSON as they are, digit for digit; other text as
 *   a JSON string; binary as bytes (with a column `content_type`: of that type).
 * - Several columns: a JSON object of them, times in ISO 8601.
 */
import { BINARY_CONTENT_TYPE, type CacheValue, holdsJson, JSON_ATTRIBUTES, valueWith } from "../../model/entry.ts";
import type { SqlColumn } from "./mapping.ts";

/** A value as it is bound to a parameter of the user's statement: JSON as text. */
export function textOrBytes(value: CacheValue): string | Buffer {
  return holdsJson(value) ? value.bytes.toString("utf8") : value.bytes;
}

export function typeOf({ contentType }: CacheValue): string {
  return contentType;
}

/** PostgreSQL's numbers of types (pg_type.dat): how the text of a value is written as JSON. */
const BOOL = 16;
const BYTEA = 17;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;
const NUMBERS = new Set([20, 21, 23, 26, 700, 701, 1700]);
const JSON_TYPES = new Set([114, 3802]);
/** JSON knows no NaN and no Infinity. */
const JSON_NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

/** A raw row: the server's text of each column, or null. Null = not such a row. */
export function valueOfRawRow(row: unknown, columns: readonly SqlColumn[]): CacheValue | null {
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

/** MySQL's numbers of types. */
const MYSQL_DATE = 10;
const MYSQL_JSON = 245;
const MYSQL_NUMBERS = new Set([1, 2, 3, 4, 5, 8, 9, 13, 246]);

/** Which cells of a row as an object MySQL's client gives as parsed JSON, with digits lost. */
export function parsedColumns(row: unknown, columns: readonly SqlColumn[]): number[] {
  if (typeof row !== "object" || row === null) return [];
  const isParsed = ({ name, type }: SqlColumn) => type === MYSQL_JSON && Reflect.get(row, name) !== null;
  return [...columns.keys()].filter((i) => columns[i] !== undefined && isParsed(columns[i]));
}

/**
 * A row as an object by column name. `columns` is empty where the client gives none; `texts` has the text of JSON by
 * column name. Null = not such a row.
 */
export function valueOfRow(
  row: unknown,
  columns: readonly SqlColumn[] = [],
  texts: ReadonlyMap<string, string> = new Map(),
): CacheValue | null {
  if (typeof row !== "object" || row === null) return null;
  const names = columns.length > 0 ? columns.map((column) => column.name) : Object.keys(row);
  const cellOf = (name: string) =>
    jsonOfCell(Reflect.get(row, name), columns.find((column) => column.name === name)?.type);
  const single = names.includes("value") ? "value" : names.length === 1 ? names[0] : undefined;
  if (single === undefined) {
    return jsonValue(
      `{${names.map((name) => `${JSON.stringify(name)}:${texts.get(name) ?? cellOf(name)}`).join(",")}}`,
    );
  }
  const cell: unknown = Reflect.get(row, single);
  if (cell instanceof Uint8Array) {
    const contentType: unknown = Reflect.get(row, "content_type");
    return {
      bytes: Buffer.from(cell.buffer, cell.byteOffset, cell.byteLength),
      contentType: typeof contentType === "string" ? contentType : BINARY_CONTENT_TYPE,
    };
  }
  return jsonValue(texts.get(single) ?? (typeof cell === "string" ? jsonOrString(cell) : cellOf(single)));
}

function jsonOfCell(cell: unknown, type: number | undefined): string {
  if (typeof cell === "bigint") return String(cell);
  if (typeof cell === "string" && type !== undefined && MYSQL_NUMBERS.has(type) && JSON_NUMBER.test(cell)) return cell;
  if (cell instanceof Uint8Array) return JSON.stringify(Buffer.from(cell).toString("base64"));
  if (!(cell instanceof Date)) return JSON.stringify(cell) ?? "null";
  // The server's times have no zone: what it shows is what is said.
  if (Number.isNaN(cell.getTime())) return "null";
  const time = cell.toISOString();
  return JSON.stringify(type === MYSQL_DATE ? time.slice(0, 10) : time.replace(/(\.000)?Z$/, ""));
}

function jsonOfText(text: string | null, type: number): string {
  if (text === null) return "null";
  if (JSON_TYPES.has(type)) return text;
  if (type === BOOL) return text === "t" ? "true" : "false";
  if (NUMBERS.has(type) && JSON_NUMBER.test(text)) return text;
  if (type === TIMESTAMP || type === TIMESTAMPTZ) return JSON.stringify(isoTime(text));
  if (type === BYTEA) return JSON.stringify(Buffer.from(text.slice(2), "hex").toString("base64"));
  return JSON.stringify(text);
}

/** `2026-01-31 10:20:30+00` as `2026-01-31T10:20:30Z`; what ISO 8601 has no form for stays as it is. */
function isoTime(text: string): string {
  const parts = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:([+-]\d\d)(:\d\d)?)?$/.exec(text);
  if (parts === null) return text;
  const [, date, time, hours, minutes = ":00"] = parts;
  const zone = hours === undefined ? "" : hours + minutes === "+00:00" ? "Z" : hours + minutes;
  return `${date}T${time}${zone}`;
}

function isPlainText(type: number): boolean {
  return !JSON_TYPES.has(type) && !NUMBERS.has(type) && ![BOOL, TIMESTAMP, TIMESTAMPTZ].includes(type);
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

function jsonValue(text: string): CacheValue {
  return valueWith(Buffer.from(text, "utf8"), JSON_ATTRIBUTES);
}
