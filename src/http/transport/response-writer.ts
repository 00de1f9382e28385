import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { type AnswerPart, HeldBytes } from "./answer-part.ts";
import { TOO_MUCH_IN_FLIGHT } from "./api-error.ts";
import { MAX_ETAG_BYTES, writeEtag } from "./etag-text.ts";
import type { HttpResponse, Representation } from "./exchange.ts";
import { freeBuffer } from "./free-buffer.ts";
import { NO_BYTES, type ParsedRequest } from "./request.ts";
import { MAX_DIGITS, type ResponseHead, writeDecimal, writeShort } from "./response-head.ts";

/** Answers up to this size are written here, one after the other, until they are sent. One per server. */
const SHARED_BYTES = 64 * 1024;

const CLOSE = "Connection: close\r\n";
const KEEP_ALIVE = "Connection: keep-alive\r\n";
const CONTENT_LENGTH = Buffer.from("Content-Length: ");
const ETAG = Buffer.from("ETag: ");
const FIXED_HEAD_BYTES =
  CONTENT_LENGTH.length + MAX_DIGITS + ETAG.length + MAX_ETAG_BYTES + KEEP_ALIVE.length + 3 * "\r\n".length;

const CR = 0x0d;
const LF = 0x0a;

/** The state of the server that heads of answers depend on. */
export interface WriterContext {
  readonly head: ResponseHead;
  /** Whether connections are no longer kept alive. */
  readonly draining: boolean;
  /** The budget for the bytes of bodies and answers. */
  readonly budget: ByteBudget;
}

enum Phase {
  Waiting,
  Begun,
  Ended,
}

/**
 * Writes answers as bytes: `buffer[start .. position)` is still to be sent. It may contain several answers of one
 * connection. A buffer that is too small is replaced by one of exactly the required size, which the budget counts if it
 * is large: without room, the call throws `TOO_MUCH_IN_FLIGHT`.
 */
export class ResponseWriter implements HttpResponse {
  buffer: Buffer;
  start = 0;
  position = 0;
  /** Whether the connection has to be closed after the answer. */
  closes = false;
  status = 0;
  wasLoaded = false;

  /** The body of the last answer, or its rest, to be sent after the buffer. Nothing more is written behind it. */
  tail: AnswerPart | null = null;
  /** Bytes that the budget counts for `buffer`. */
  private countedBytes = 0;
  private phase = Phase.Waiting;
  /** The start of the current answer; before it are others that are not sent yet. */
  answerStart = 0;
  private bodyStart = 0;
  private bodyEnd = 0;
  private withoutBody = false;
  private toHead = false;
  private keepAlive = true;
  private oldVersion = false;

  constructor(
    private readonly context: WriterContext,
    private shared: Buffer = Buffer.allocUnsafeSlow(SHARED_BYTES),
  ) {
    this.buffer = shared;
  }

  get budget(): ByteBudget {
    return this.context.budget;
  }

  get isShared(): boolean {
    return this.buffer === this.shared;
  }

  /** Whether the budget counts the buffer. */
  get isCounted(): boolean {
    return this.countedBytes > 0;
  }

  /** Whether the written bytes have to be sent before anything else is written. */
  mustGo(bytes: number): boolean {
    return this.position >= bytes || this.tail !== null;
  }

  get answered(): boolean {
    return this.phase === Phase.Ended;
  }

  /** Prepares for the answer to `request`, which follows the present content of the buffer. */
  expect(request: ParsedRequest): void {
    this.phase = Phase.Waiting;
    this.answerStart = this.position;
    this.toHead = request.method === "HEAD";
    this.keepAlive = request.keepAlive;
    this.oldVersion = request.oldVersion;
    this.wasLoaded = false;
  }

  /** Like `expect`, for a request that the handler does not answer: the connection is closed after the answer. */
  expectRefusal(toHead: boolean): void {
    this.phase = Phase.Waiting;
    this.answerStart = this.position;
    this.toHead = toHead;
    this.keepAlive = false;
    this.oldVersion = false;
  }

  /** Discards what was written of the current answer. */
  rewind(): void {
    this.phase = Phase.Waiting;
    this.position = this.answerStart;
  }

  /** Transfers ownership of the written bytes to the caller. */
  handOver(): HeldBytes {
    const { buffer, start, position, countedBytes } = this;
    this.countedBytes = 0;
    return new HeldBytes(this.context.budget, buffer, start, position, countedBytes);
  }

  /** Transfers ownership of the tail to the caller. */
  handOverTail(): AnswerPart {
    const { tail } = this;
    if (tail === null) throw new Error("there is no tail to send");
    this.tail = null;
    return tail;
  }

  /** Empties the buffer after everything was sent, or nothing more can be. */
  clear(): void {
    this.giveBack();
    this.tail?.drop();
    this.tail = null;
    this.buffer = this.shared;
    this.start = 0;
    this.position = 0;
    this.answerStart = 0;
  }

  /**
   * The current answer is sent later, after other connections have used the shared buffer: leaves that buffer to them,
   * unless the answer is being written into it. The answers before it must have been sent.
   *
   * @returns the writer for all other connections
   */
  detach(): ResponseWriter {
    if (this.phase === Phase.Begun) {
      this.start = this.answerStart;
      return new ResponseWriter(this.context);
    }
    const successor = new ResponseWriter(this.context, this.shared);
    const answer = Buffer.from(this.buffer.subarray(this.answerStart, this.position));
    this.shared = NO_BYTES;
    this.buffer = answer;
    this.start = 0;
    this.answerStart = 0;
    this.position = answer.length;
    return successor;
  }

  sendText(status: number, headers: string, body: string): void {
    this.beginBody(status, headers, Buffer.byteLength(body));
    this.position += this.buffer.utf8Write(body, this.position);
    this.endBody();
  }

  sendBytes(status: number, headers: string, body: Buffer, start: number, end: number): void {
    this.beginBody(status, headers, end - start);
    this.position += body.copy(this.buffer, this.position, start, end);
    this.endBody();
  }

  sendPart(status: number, headers: string, bodyLength: number, body: AnswerPart): void {
    this.tail = body;
    this.begin(status, headers, bodyLength, 0);
    this.phase = Phase.Ended;
    if (!this.withoutBody) return;
    body.drop();
    this.tail = null;
  }

  sendHead(status: number, headers: string, contentLength: number): void {
    const bodiless = this.toHead || status === 204 || status === 304;
    if (!bodiless && contentLength > 0) throw new Error(`answer ${status} has a length but no body: use beginBody`);
    this.begin(status, headers, bodiless ? contentLength : 0, 0);
    this.phase = Phase.Ended;
  }

  beginBody(status: number, headers: string, bodyLength: number): void {
    this.begin(status, headers, status === 304 ? -1 : bodyLength, bodyLength);
    this.phase = Phase.Begun;
  }

  beginEntry(
    headers: Buffer,
    headersLength: number,
    revision: number,
    representation: Representation,
    bodyLength: number,
  ): void {
    let position = this.beginHead(200, headersLength, bodyLength, bodyLength);
    const { buffer } = this;
    position += headers.copy(buffer, position, 0, headersLength);
    position = writeEtag(buffer, writeShort(buffer, position, ETAG), revision, representation);
    buffer[position++] = CR;
    buffer[position++] = LF;
    this.endHead(200, position, bodyLength);
    this.phase = Phase.Begun;
  }

  endBody(): void {
    if (this.phase !== Phase.Begun) throw new Error("endBody without beginBody");
    if (this.position !== this.bodyEnd) {
      throw new Error(`answer has ${this.position - this.bodyStart} of ${this.bodyEnd - this.bodyStart} bytes`);
    }
    if (this.withoutBody) this.position = this.bodyStart;
    this.phase = Phase.Ended;
  }

  private begin(status: number, headers: string, contentLength: number, roomBytes: number): void {
    const position = this.beginHead(status, headers.length, contentLength, roomBytes);
    this.endHead(status, position + this.buffer.latin1Write(headers, position), roomBytes);
  }

  /** Makes room for the answer, and writes the lines that all answers begin with. @returns the position after them */
  private beginHead(status: number, headersLength: number, contentLength: number, roomBytes: number): number {
    if (this.phase === Phase.Ended) throw new Error("request was answered already");
    const lines = this.context.head.linesFor(status);
    const start = this.answerStart;
    this.status = status;
    const needed = start + lines.length + FIXED_HEAD_BYTES + headersLength + roomBytes;
    if (needed > this.buffer.length) this.replaceBuffer(needed);

    const { buffer } = this;
    let position = start + buffer.latin1Write(lines, start);
    if (contentLength >= 0 && status !== 204) {
      position = writeDecimal(buffer, writeShort(buffer, position, CONTENT_LENGTH), contentLength);
      buffer[position++] = CR;
      buffer[position++] = LF;
    }
    return position;
  }

  private endHead(status: number, afterHeaders: number, roomBytes: number): void {
    const { buffer } = this;
    let position = this.writeConnection(afterHeaders);
    buffer[position++] = CR;
    buffer[position++] = LF;

    this.withoutBody = this.toHead || status === 204 || status === 304;
    this.bodyStart = position;
    this.bodyEnd = position + roomBytes;
    this.position = position;
  }

  private writeConnection(position: number): number {
    this.closes = !this.keepAlive || this.context.draining;
    if (this.closes) return position + this.buffer.latin1Write(CLOSE, position);
    return this.oldVersion ? position + this.buffer.latin1Write(KEEP_ALIVE, position) : position;
  }

  private replaceBuffer(bytes: number): void {
    // Small answers are always allowed, because one of them says that there is no room.
    const countedBytes = bytes > SHARED_BYTES ? bytes : 0;
    if (countedBytes > 0 && !this.context.budget.take(InFlight.Answers, countedBytes)) throw TOO_MUCH_IN_FLIGHT;
    const larger = Buffer.allocUnsafeSlow(bytes);
    this.buffer.copy(larger, 0, 0, this.answerStart);
    this.giveBack();
    this.buffer = larger;
    this.countedBytes = countedBytes;
  }

  private giveBack(): void {
    if (this.countedBytes === 0) return;
    this.context.budget.giveBack(InFlight.Answers, this.countedBytes);
    this.countedBytes = 0;
    freeBuffer(this.buffer);
  }
}
