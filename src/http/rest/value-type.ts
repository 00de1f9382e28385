import {
  type Attributes,
  BINARY_CONTENT_TYPE,
  CONTENT_TYPE_FORM,
  JSON_ATTRIBUTES,
  JSON_CONTENT_TYPE,
  MAX_CONTENT_TYPE_BYTES,
} from "../../model/entry.ts";
import { ApiError } from "../transport/api-error.ts";
import { shortened } from "./body-members.ts";
import { CODINGS, type Coding } from "./content-coding.ts";

/** A comma outside quotes: two fields that a proxy has joined. */
const SEVERAL = /^(?:[^",]|"(?:[^"\\]|\\.)*")*,/;
/**
 * The coding of a value is stored behind its content type, as a parameter of our own: engines, databases and peers
 * store that text unchanged, and only this file interprets it.
 */
const CODING_PARAMETER = ";content-encoding=";
const CODING_PARAMETER_ANYWHERE = /;\s*content-encoding\s*=/i;
/**
 * Types that a browser executes, or displays with scripts: HTML, XML and formats based on it (SVG), scripts of any
 * name.
 */
const ACTIVE = /html|xml|svg|script|xsl|multipart\//i;

/** The most cached types; headers of further types are built each time. */
const MOST_KEPT = 1_000;

/** The properties of a value that follow from its stored content type. */
export interface ValueType {
  readonly isJson: boolean;
  /** Without the content coding. */
  readonly mediaType: string;
  /** Null = the value is stored without a coding. */
  readonly coding: Coding | null;
  /** Headers of an answer with the stored bytes, and of one with the decoded bytes: the same without a coding. */
  readonly headers: string;
  readonly decodedHeaders: string;
}

const JSON_TYPE: ValueType = {
  isJson: true,
  mediaType: JSON_CONTENT_TYPE,
  coding: null,
  headers: `Content-Type: ${JSON_CONTENT_TYPE}\r\n`,
  decodedHeaders: `Content-Type: ${JSON_CONTENT_TYPE}\r\n`,
};

/** Caches the properties of stored content types, one cache per thread. */
export class ValueTypes {
  private readonly kept = new Map<string, ValueType>();

  of(attributes: Attributes): ValueType {
    const stored = attributes.contentType;
    if (stored === JSON_CONTENT_TYPE) return JSON_TYPE;
    const known = this.kept.get(stored);
    if (known !== undefined) return known;
    const made = typeOf(stored);
    if (this.kept.size < MOST_KEPT) this.kept.set(stored, made);
    return made;
  }
}

export function valueTypeOf({ contentType }: Attributes): ValueType {
  return typeOf(contentType);
}

/** Parses a stored content type. */
function typeOf(stored: string): ValueType {
  if (stored === JSON_CONTENT_TYPE) return JSON_TYPE;
  const at = stored.lastIndexOf(CODING_PARAMETER);
  const named = at < 0 ? "" : stored.slice(at + CODING_PARAMETER.length);
  const coding = CODINGS.find((known) => known === named) ?? null;
  const mediaType = coding === null ? stored : stored.slice(0, at);
  const sandbox = ACTIVE.test(mediaType) ? "Content-Security-Policy: sandbox\r\n" : "";
  const plain = `Content-Type: ${mediaType}\r\nX-Content-Type-Options: nosniff\r\n${sandbox}`;
  if (coding === null) return { isJson: false, mediaType, coding, headers: plain, decodedHeaders: plain };
  const decodedHeaders = `${plain}Vary: Accept-Encoding\r\n`;
  const headers = `${decodedHeaders}Content-Encoding: ${coding}\r\n`;
  return { isJson: false, mediaType, coding, headers, decodedHeaders };
}

/**
 * The attributes that are stored for a `Content-Type` header: JSON in any spelling and with any parameters as JSON, any
 * other type unchanged. Throws `ApiError` (400).
 */
export function storedAttributes(header: string | null, coding: Coding | null): Attributes {
  const contentType = header?.trim() || BINARY_CONTENT_TYPE;
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase();
  // JSON is stored decoded, because documents, counters and batches use its text.
  if (mediaType === JSON_CONTENT_TYPE) return JSON_ATTRIBUTES;
  const most = MAX_CONTENT_TYPE_BYTES - (coding === null ? 0 : CODING_PARAMETER.length + coding.length);
  if (contentType.length > most || !CONTENT_TYPE_FORM.test(contentType)) {
    throw badContentType(`has ${contentType.length} characters: send up to ${most}, ASCII only`);
  }
  if (SEVERAL.test(contentType)) throw badContentType(`is ${quoted(contentType)}: send one type`);
  if (CODING_PARAMETER_ANYWHERE.test(contentType)) {
    throw badContentType(`is ${quoted(contentType)}: send the coding as Content-Encoding, not as a parameter`);
  }
  return { contentType: coding === null ? contentType : `${contentType}${CODING_PARAMETER}${coding}` };
}

function badContentType(what: string): ApiError {
  return new ApiError(400, "ERR_BAD_CONTENT_TYPE", `Content-Type ${what}`);
}

function quoted(text: string): string {
  return JSON.stringify(shortened(text));
}
