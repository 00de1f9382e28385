/**
 * The interface between the connection (`connection.ts`, bytes) and the REST surface (`api.ts`, meaning). The requests
 * of a connection are handled one at a time, in order; pipelined ones wait.
 */

import type { ByteBudget } from "../../runtime/byte-budget.ts";
import type { AnswerPart } from "./answer-part.ts";

/**
 * The form in which an answer contains an entry; it is a suffix of the ETag. "" = the document around JSON, or the
 * value as it is stored; `-raw` = JSON without the document; `-decoded` = the value without its stored content coding.
 */
export type Representation = "" | "-raw" | "-decoded";

/** One parsed request. Reused: valid until the handler has answered (until its promise settles, if it returns one). */
export interface HttpRequest {
  /** As sent: `GET`, `POST` … */
  readonly method: string;
  /**
   * The bytes that hold target and body. The target in origin form (`/path?query`) is
   * `buffer[targetStart .. targetEnd)`; `queryStart` is the index after `?`, or -1. Of an absolute-form target this is
   * the part after the authority; the authority takes the place of the `Host` header (RFC 9112, section 3.2.2).
   * Nothing is decoded or normalised: `%2F`, `..` and `//` are as they were sent.
   */
  readonly buffer: Buffer;
  readonly targetStart: number;
  readonly targetEnd: number;
  readonly queryStart: number;
  /** The body without chunked framing: `body[bodyStart .. bodyEnd)`. */
  readonly body: Buffer;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** Whether there is an `If-Match` or an `If-None-Match`. */
  readonly isConditional: boolean;
  /** The address of the client, or of the proxy in between. */
  readonly remoteAddress: string;
  /** The value of a header, or null; repeated ones are joined with ", ". `lowerCaseName` must be lower case. */
  header(lowerCaseName: string): string | null;
}

/**
 * Receives the answer. Exactly one answer per request: `send…`, or `beginBody` … `endBody`. The connection adds `Date`,
 * `Content-Length` and `Connection`.
 */
export interface HttpResponse {
  /** The status of the answer that was begun last. */
  readonly status: number;
  /** Whether the answer was loaded from behind the cache. Set by the handler. */
  wasLoaded: boolean;
  /** The budget for the bytes of answers. */
  readonly budget: ByteBudget;
  /** Answers with a complete body. `headers` is raw header text: zero or more `name: value\r\n`. */
  sendText(status: number, headers: string, body: string): void;
  sendBytes(status: number, headers: string, body: Buffer, start: number, end: number): void;
  /** Answers with a body that is sent in parts, and belongs to the answer from now on. */
  sendPart(status: number, headers: string, bodyLength: number, body: AnswerPart): void;
  /** Answers without a body: 204, 304, or HEAD (where `contentLength` is that of the GET). -1 = no Content-Length. */
  sendHead(status: number, headers: string, contentLength: number): void;

  /**
   * The path without garbage: writes the head for a body of `bodyLength` bytes and makes room for them. Then exactly
   * `bodyLength` bytes must be written into `buffer` from `position`, which the caller advances. May be called again
   * before `endBody`, which discards the bytes written so far.
   */
  beginBody(status: number, headers: string, bodyLength: number): void;
  /** Like `beginBody` with status 200, headers as bytes, and an `ETag` header for this revision of an entry. */
  beginEntry(
    headers: Buffer,
    headersLength: number,
    revision: number,
    representation: Representation,
    bodyLength: number,
  ): void;
  buffer: Buffer;
  position: number;
  endBody(): void;
}
