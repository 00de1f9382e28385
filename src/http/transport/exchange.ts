/**
 * What the connection (`connection.ts`, bytes in and out) and the REST surface (`api.ts`, what they mean) say to each
 * other. One request of a connection is handled at a time, in order; pipelined ones wait.
 */

import type { ByteBudget } from "../../runtime/byte-budget.ts";
import type { AnswerPart } from "./answer-part.ts";

/**
 * What of an entry an answer holds; its ETag ends with it. "" = the document around JSON, or the value as it is stored;
 * `-raw` = JSON without the document; `-decoded` = the value without the content coding that it is stored with.
 */
export type Representation = "" | "-raw" | "-decoded";

/** One parsed request. Reused: valid until the handler has answered (until its promise settles, if it gives one). */
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
  /** The body, de-chunked: `body[bodyStart .. bodyEnd)`. */
  readonly body: Buffer;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** There is an `If-Match` or an `If-None-Match`. */
  readonly isConditional: boolean;
  /** The client's address: of a proxy, where one is in between. */
  readonly remoteAddress: string;
  /** A header's value, or null; of repeated ones, joined with ", ". `lowerCaseName` must be lower case. */
  header(lowerCaseName: string): string | null;
}

/**
 * Where the answer goes. Exactly one answer per request: `send…`, or `beginBody` … `endBody`.
 * `Date`, `Content-Length` and `Connection` are the connection's affair.
 */
export interface HttpResponse {
  /** Of the answer that was begun last. */
  readonly status: number;
  /** The answer was not in the cache, but what is behind it had one. Set by the handler. */
  wasLoaded: boolean;
  /** What may be held of answers. */
  readonly budget: ByteBudget;
  /** Answers with a complete body. `headers` is raw header text: zero or more `name: value\r\n`. */
  sendText(status: number, headers: string, body: string): void;
  sendBytes(status: number, headers: string, body: Buffer, start: number, end: number): void;
  /** Answers with a body that is sent by itself, and belongs to the answer from now on. */
  sendPart(status: number, headers: string, bodyLength: number, body: AnswerPart): void;
  /** Answers with head alone: 204, 304, or HEAD (where `contentLength` is what GET's would be). -1 = no Content-Length. */
  sendHead(status: number, headers: string, contentLength: number): void;

  /**
   * The path without garbage: writes the head for a body of `bodyLength` bytes and makes room for them.
   * After it, exactly `bodyLength` bytes must be put into `buffer` from `position`, which the caller advances.
   * May be called again before `endBody`: what the call before wrote is forgotten.
   */
  beginBody(status: number, headers: string, bodyLength: number): void;
  /** As `beginBody` with status 200, headers as bytes, and a header `ETag` for this tag of an entry. */
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
