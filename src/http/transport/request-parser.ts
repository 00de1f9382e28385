import { BYTE_CLASS, DIGIT, FIELD_VALUE, HOST, TARGET, TOKEN } from "./byte-class.ts";
import type { HttpLimits } from "./limits.ts";
import type { Refusal } from "./refusal.ts";
import {
  badRequest,
  EXPECTATION_FAILED,
  HEADERS_TOO_LARGE,
  TARGET_TOO_LONG,
  UNKNOWN_CODING,
  VERSION_NOT_SUPPORTED,
} from "./refusal.ts";
import { equalsIgnoringCase, NO_BYTES, NO_LENGTH, type ParsedRequest, SPAN } from "./request.ts";

/** The head is not complete yet. */
export const INCOMPLETE = -1;
/** The head is invalid: `request.refusal` gives the reason. */
export const REFUSED = -2;

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const ASTERISK = 0x2a;
const SLASH = 0x2f;
const COLON = 0x3a;
const QUESTION_MARK = 0x3f;
const LOWER_H = 0x68;
/** Converts a letter to lower case. */
const LOWER_CASE = 0x20;

const METHODS: readonly string[] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
const MAX_METHOD_BYTES = 32;
const VERSION_BYTES = "HTTP/1.1".length;
const SCHEMES: readonly string[] = ["http://", "https://"];
/** `token *( OWS "," OWS token )`, each with optional parameters, which no supported coding has. */
const CODINGS = /^[!#$%&'*+\-.^_`|~0-9a-z]+(;[^,]*)?([\t ]*,[\t ]*[!#$%&'*+\-.^_`|~0-9a-z]+(;[^,]*)?)*$/;
/** More digits than any limit, and few enough that the number stays exact. */
const MAX_LENGTH_DIGITS = 15;

const BAD_METHOD = badRequest("begin the request with a method, one space, a target, one space and HTTP/1.1");
const BAD_TARGET = badRequest(
  "send a target that begins with / or http://, and percent-encode # and everything but visible ASCII in it",
);
const BAD_VERSION = badRequest("end the request line with HTTP/1.1 and CRLF");
const BAD_LINE_END = badRequest("end each line with CRLF");
const BAD_HEADER_NAME = badRequest("send header lines as a name, a colon at once, and a value, without line folding");
const BAD_HEADER_VALUE = badRequest("send header values without control characters, and end each line with CRLF");
const BAD_HOST = badRequest("send exactly one Host header, with a host name or an address");
const BAD_LENGTH = badRequest("send Content-Length once, as a decimal number");
const BAD_ENCODING = badRequest("send Transfer-Encoding once, as chunked, over HTTP/1.1");
const BAD_CONTENT_TYPE = badRequest("send Content-Type once");
const LENGTH_AND_ENCODING = badRequest("send either Content-Length or Transfer-Encoding");

/**
 * Parses one request head, strictly (RFC 9112), from `buffer[start .. end)` into `request`, without copying a byte.
 *
 * Targets are accepted in origin form (`/path?query`), in absolute form (`http://host/path?query`), and as `*`; the
 * authority form, which is for tunnels, is refused with 400.
 *
 * @returns where the head ends, `INCOMPLETE` or `REFUSED`
 */
export function parseHead(
  request: ParsedRequest,
  buffer: Buffer,
  start: number,
  end: number,
  limits: HttpLimits,
): number {
  begin(request, buffer);
  const lineEnd = parseRequestLine(request, start, end, limits);
  const headEnd = lineEnd < 0 ? lineEnd : parseHeaders(request, lineEnd, end, limits);
  if (headEnd === REFUSED) return REFUSED;
  if ((headEnd === INCOMPLETE ? end : headEnd) - start > limits.headBytes) return refuse(request, HEADERS_TOO_LARGE);
  return headEnd;
}

function begin(request: ParsedRequest, buffer: Buffer): void {
  request.buffer = buffer;
  request.body = NO_BYTES;
  request.bodyStart = 0;
  request.bodyEnd = 0;
  request.queryStart = -1;
  request.contentLength = NO_LENGTH;
  request.chunked = false;
  request.keepAlive = true;
  request.closeAsked = false;
  request.keepAliveAsked = false;
  request.oldVersion = false;
  request.expectsContinue = false;
  request.authorityStart = 0;
  request.authorityEnd = 0;
  request.hasContentType = false;
  request.isConditional = false;
  request.refusal = null;
  request.nameLengths = 0;
  request.hostAt = -1;
  request.headerCount = 0;
}

function refuse(request: ParsedRequest, refusal: Refusal): number {
  request.refusal = refusal;
  return REFUSED;
}

function parseRequestLine(request: ParsedRequest, start: number, end: number, limits: HttpLimits): number {
  const afterMethod = parseMethod(request, start, end);
  if (afterMethod < 0) return afterMethod;
  const afterTarget = parseTarget(request, afterMethod, end, limits);
  if (afterTarget < 0) return afterTarget;
  return parseVersion(request, afterTarget, end);
}

function parseMethod(request: ParsedRequest, start: number, end: number): number {
  const { buffer } = request;
  let at = start;
  while (at < end && ((BYTE_CLASS[buffer[at] ?? 0] ?? 0) & TOKEN) !== 0) at++;
  // A lone CR may be the first half of an empty line, which is skipped.
  if (at + 1 === end && at === start && buffer[at] === CR) return INCOMPLETE;
  if (at - start > MAX_METHOD_BYTES) return refuse(request, BAD_METHOD);
  if (at === end) return INCOMPLETE;
  if (buffer[at] !== SPACE || at === start) return refuse(request, BAD_METHOD);
  request.method = methodText(buffer, start, at);
  return at + 1;
}

function methodText(buffer: Buffer, start: number, end: number): string {
  for (const method of METHODS) {
    if (method.length === end - start && equalsExactly(buffer, start, method)) return method;
  }
  return buffer.latin1Slice(start, end);
}

function equalsExactly(buffer: Buffer, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (buffer[start + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}

function parseTarget(request: ParsedRequest, start: number, end: number, limits: HttpLimits): number {
  const { buffer } = request;
  let at = start;
  let byte = 0;
  for (; at < end; at++) {
    byte = buffer[at] ?? 0;
    if (((BYTE_CLASS[byte] ?? 0) & TARGET) === 0) break;
    if (byte === QUESTION_MARK && request.queryStart === -1) request.queryStart = at + 1;
  }
  if (at - start > limits.targetBytes) return refuse(request, TARGET_TOO_LONG);
  const first = buffer[start] ?? 0;
  const isAbsolute = (first | LOWER_CASE) === LOWER_H;
  if (at > start && first !== SLASH && first !== ASTERISK && !isAbsolute) return refuse(request, BAD_TARGET);
  if (at === end) return INCOMPLETE;
  if (byte !== SPACE || at === start) return refuse(request, BAD_TARGET);
  if (first === ASTERISK && at > start + 1) return refuse(request, BAD_TARGET);
  request.targetStart = start;
  request.targetEnd = at;
  if (isAbsolute && !takeAuthority(request)) return refuse(request, BAD_TARGET);
  return at + 1;
}

/** Reduces an absolute-form target to the part after the authority. @returns false if it has no scheme or no host */
function takeAuthority(request: ParsedRequest): boolean {
  const { buffer, targetStart, targetEnd } = request;
  const scheme = SCHEMES.find((known) => equalsIgnoringCase(buffer, targetStart, known));
  if (scheme === undefined) return false;
  const start = targetStart + scheme.length;
  let at = start;
  while (at < targetEnd && buffer[at] !== SLASH && buffer[at] !== QUESTION_MARK) at++;
  // "http://:80/" has no host, and user names are not allowed in requests (RFC 9110, sections 4.2.1 and 4.2.4).
  if (at <= start || buffer[start] === COLON || !isHost(buffer, start, at)) return false;
  request.authorityStart = start;
  request.authorityEnd = at;
  request.targetStart = at;
  return true;
}

function parseVersion(request: ParsedRequest, start: number, end: number): number {
  const { buffer } = request;
  const at = start + VERSION_BYTES;
  for (let i = start; i < Math.min(at, end); i++) {
    if (((BYTE_CLASS[buffer[i] ?? 0] ?? 0) & TARGET) === 0) return refuse(request, BAD_VERSION);
  }
  if (at > end) return INCOMPLETE;
  if (!equalsExactly(buffer, start, "HTTP/1.1")) {
    const refusal = noteOtherVersion(request, start);
    if (refusal !== null) return refuse(request, refusal);
  }
  return parseLineEnd(request, at, end);
}

/** A later minor version is served as the latest known one (RFC 9110, section 2.5). */
function noteOtherVersion(request: ParsedRequest, start: number): Refusal | null {
  const { buffer } = request;
  const wellFormed =
    equalsExactly(buffer, start, "HTTP/") &&
    isDigit(buffer, start + 5) &&
    equalsExactly(buffer, start + 6, ".") &&
    isDigit(buffer, start + 7);
  if (!wellFormed) return BAD_VERSION;
  if (!equalsExactly(buffer, start, "HTTP/1.")) return VERSION_NOT_SUPPORTED;
  request.oldVersion = equalsExactly(buffer, start, "HTTP/1.0");
  return null;
}

function isDigit(buffer: Buffer, at: number): boolean {
  return ((BYTE_CLASS[buffer[at] ?? 0] ?? 0) & DIGIT) !== 0;
}

function parseLineEnd(request: ParsedRequest, at: number, end: number): number {
  if (at < end && request.buffer[at] !== CR) return refuse(request, BAD_LINE_END);
  if (at + 1 < end && request.buffer[at + 1] !== LF) return refuse(request, BAD_LINE_END);
  return at + 2 > end ? INCOMPLETE : at + 2;
}

function parseHeaders(request: ParsedRequest, start: number, end: number, limits: HttpLimits): number {
  const { buffer } = request;
  let hosts = 0;
  let at = start;
  while (at < end) {
    if (buffer[at] === CR) return finish(request, parseLineEnd(request, at, end), hosts);
    const nameStart = at;
    while (at < end && ((BYTE_CLASS[buffer[at] ?? 0] ?? 0) & TOKEN) !== 0) at++;
    if (at === end) return INCOMPLETE;
    if (buffer[at] !== COLON || at === nameStart) return refuse(request, BAD_HEADER_NAME);
    const nameEnd = at++;

    while (at < end && (buffer[at] === SPACE || buffer[at] === TAB)) at++;
    const valueStart = at;
    while (at < end && ((BYTE_CLASS[buffer[at] ?? 0] ?? 0) & FIELD_VALUE) !== 0) at++;
    if (at === end) return INCOMPLETE;
    if (buffer[at] !== CR) return refuse(request, BAD_HEADER_VALUE);
    let valueEnd = at;
    while (valueEnd > valueStart && (buffer[valueEnd - 1] === SPACE || buffer[valueEnd - 1] === TAB)) valueEnd--;
    at = parseLineEnd(request, at, end);
    if (at < 0) return at;

    if (request.headerCount === limits.headers) return refuse(request, HEADERS_TOO_LARGE);
    const span = request.headerCount++ * SPAN;
    request.headerSpans[span] = nameStart;
    request.headerSpans[span + 1] = nameEnd;
    request.headerSpans[span + 2] = valueStart;
    request.headerSpans[span + 3] = valueEnd;

    request.nameLengths |= 1 << (nameEnd - nameStart);
    const refusal = framing(request, nameStart, nameEnd, valueStart, valueEnd);
    if (refusal !== null) return refuse(request, refusal);
    if (nameEnd - nameStart === 4 && equalsIgnoringCase(buffer, nameStart, "host")) {
      hosts++;
      request.hostAt = span;
      if (request.authorityEnd > 0) replaceHost(request, span);
    }
  }
  return INCOMPLETE;
}

function replaceHost(request: ParsedRequest, span: number): void {
  request.headerSpans[span + 2] = request.authorityStart;
  request.headerSpans[span + 3] = request.authorityEnd;
}

/**
 * Evaluates the headers that determine where the request ends and whether the connection stays open. The length of a
 * name selects the candidates.
 */
function framing(
  request: ParsedRequest,
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
): Refusal | null {
  const { buffer } = request;
  switch (nameEnd - nameStart) {
    case 4:
      if (!equalsIgnoringCase(buffer, nameStart, "host")) return null;
      return isHost(buffer, valueStart, valueEnd) ? null : BAD_HOST;
    case 6:
      if (!equalsIgnoringCase(buffer, nameStart, "expect")) return null;
      return noteExpect(request, valueStart, valueEnd);
    case 8:
      if (equalsIgnoringCase(buffer, nameStart, "if-match")) request.isConditional = true;
      return null;
    case 10:
      if (equalsIgnoringCase(buffer, nameStart, "connection")) noteConnection(request, valueStart, valueEnd);
      return null;
    case 12:
      if (!equalsIgnoringCase(buffer, nameStart, "content-type")) return null;
      if (request.hasContentType) return BAD_CONTENT_TYPE;
      request.hasContentType = true;
      return null;
    case 13:
      if (equalsIgnoringCase(buffer, nameStart, "if-none-match")) request.isConditional = true;
      return null;
    case 14:
      if (!equalsIgnoringCase(buffer, nameStart, "content-length")) return null;
      return noteLength(request, valueStart, valueEnd);
    case 17:
      if (!equalsIgnoringCase(buffer, nameStart, "transfer-encoding")) return null;
      if (request.chunked || request.oldVersion) return BAD_ENCODING;
      request.chunked = isText(buffer, valueStart, valueEnd, "chunked");
      return request.chunked ? null : otherCoding(buffer.latin1Slice(valueStart, valueEnd).toLowerCase());
    default:
      return null;
  }
}

function isHost(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (((BYTE_CLASS[buffer[at] ?? 0] ?? 0) & HOST) === 0) return false;
  }
  return true;
}

function isText(buffer: Buffer, start: number, end: number, lowerCase: string): boolean {
  return end - start === lowerCase.length && equalsIgnoringCase(buffer, start, lowerCase);
}

/** The body ends where `chunked` ends, so it must be the last coding (RFC 9112, section 6.1). */
function otherCoding(codings: string): Refusal {
  return CODINGS.test(codings) && !/^chunked\b.*,|,\s*chunked\b.*,/.test(codings) ? UNKNOWN_CODING : BAD_ENCODING;
}

function noteExpect(request: ParsedRequest, start: number, end: number): Refusal | null {
  // RFC 9110 10.1.1: an expectation in an HTTP/1.0 request is ignored.
  if (request.oldVersion) return null;
  if (!isText(request.buffer, start, end, "100-continue")) return EXPECTATION_FAILED;
  request.expectsContinue = true;
  return null;
}

function noteLength(request: ParsedRequest, start: number, end: number): Refusal | null {
  if (request.contentLength !== NO_LENGTH || start === end) return BAD_LENGTH;
  let length = 0;
  let digits = 0;
  for (let at = start; at < end; at++) {
    if (!isDigit(request.buffer, at)) return BAD_LENGTH;
    length = length * 10 + ((request.buffer[at] ?? 0) - 0x30);
    if (length > 0) digits++;
  }
  request.contentLength = digits > MAX_LENGTH_DIGITS ? Number.MAX_SAFE_INTEGER : length;
  return null;
}

function noteConnection(request: ParsedRequest, start: number, end: number): void {
  const { buffer } = request;
  if (isText(buffer, start, end, "keep-alive")) request.keepAliveAsked = true;
  else if (isText(buffer, start, end, "close")) request.closeAsked = true;
  else noteConnectionOptions(request, buffer.latin1Slice(start, end).toLowerCase());
}

function noteConnectionOptions(request: ParsedRequest, list: string): void {
  for (const option of list.split(",")) {
    if (option.trim() === "keep-alive") request.keepAliveAsked = true;
    if (option.trim() === "close") request.closeAsked = true;
  }
}

function finish(request: ParsedRequest, headEnd: number, hosts: number): number {
  if (headEnd < 0) return headEnd;
  if (hosts > 1 || (hosts === 0 && !request.oldVersion)) return refuse(request, BAD_HOST);
  if (request.chunked && request.contentLength !== NO_LENGTH) return refuse(request, LENGTH_AND_ENCODING);
  request.keepAlive = !request.closeAsked && (!request.oldVersion || request.keepAliveAsked);
  return headEnd;
}
