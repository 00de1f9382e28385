import { BodyReader } from "./body-reader.ts";
import type { ByteSocket, ConnectionContext } from "./connection-context.ts";
import { CROSS_SITE, isCrossSite } from "./cross-site.ts";
import { answerInternalError, answerRefusal } from "./error-answers.ts";
import { freeBuffer } from "./free-buffer.ts";
import { InputQueue } from "./input-queue.ts";
import { type AnswerRecipient, LateAnswer } from "./late-answer.ts";
import { OutputQueue } from "./output-queue.ts";
import { Phase } from "./phase.ts";
import { ReadPause } from "./read-pause.ts";
import { BODY_TOO_LARGE, REQUEST_CUT_SHORT, REQUEST_TIMEOUT, type Refusal, TOO_MANY_CONNECTIONS } from "./refusal.ts";
import { NO_LENGTH, ParsedRequest } from "./request.ts";
import { RequestBytes } from "./request-bytes.ts";
import { INCOMPLETE, parseHead, REFUSED } from "./request-parser.ts";
import type { ResponseWriter } from "./response-writer.ts";
import { LARGE_CHUNK_BYTES, type TurnTaker } from "./turns.ts";
import { Wait } from "./wait.ts";

/** Answers to pipelined requests are collected up to this size before they are sent. */
const FLUSH_BYTES = 32 * 1024;

/** The most pooled requests; more would only be kept after a burst. */
const MAX_SPARE_REQUESTS = 256;

const CONTINUE = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n", "latin1");

/**
 * A client's connection: parses the bytes on its socket, calls the handler, and sends the answers. It handles one
 * request at a time; while an answer is outstanding, or has not been accepted by the client, nothing more is parsed.
 *
 * The hot path is `onData` -> `advance` -> `parseHead` -> `dispatch` -> `conclude` -> `flush`, and creates no garbage.
 */
export class Connection implements AnswerRecipient, TurnTaker {
  private phase = Phase.Head;
  private readonly input = new InputQueue();
  private readonly output: OutputQueue;
  private readonly held: RequestBytes;
  /** The request whose `LateAnswer` is outstanding. */
  private awaited: ParsedRequest | null = null;
  private inputEnded = false;
  private shutDown = false;
  private readonly wait: Wait;
  private readonly pause: ReadPause;

  constructor(
    private readonly socket: ByteSocket,
    private readonly context: ConnectionContext,
  ) {
    this.output = new OutputQueue(socket, context, this);
    this.held = new RequestBytes(context.budget);
    this.pause = new ReadPause(socket, context.budget, context.turns);
    this.wait = new Wait(context);
  }

  onData(chunk: Buffer): void {
    // Otherwise everything in the socket's buffer would be read in one go.
    if (chunk.length >= LARGE_CHUNK_BYTES) this.pause.waitForTurn();
    if (this.phase === Phase.Lingering || this.phase === Phase.Closed) {
      freeBuffer(chunk);
      return;
    }
    this.input.add(chunk);
    if (this.isBusy()) this.pauseIfFull();
    else this.advance();
  }

  /** The client has sent FIN: it still gets the answers to its requests. */
  onEnd(): void {
    if (this.inputEnded) return;
    this.inputEnded = true;
    if (!this.isBusy()) this.advance();
  }

  onDrain(): void {
    if (this.phase === Phase.Closed || this.output.isEmpty) return;
    if (!this.output.send()) this.cut();
    if (!this.output.isEmpty) return;
    this.wait.begin();
    if (this.phase === Phase.Lingering) this.finishWriting();
    else if (this.phase !== Phase.Handling) this.resumeAndAdvance();
  }

  /** Sends more of a large answer when its turn has come. */
  takeTurn(): void {
    this.output.endWait();
    this.onDrain();
  }

  onClose(): void {
    this.phase = Phase.Closed;
    this.held.release();
    this.pause.giveBack();
    this.input.clear();
    this.output.clear();
  }

  /** Answers that there are too many connections, and closes. */
  refuseForCount(): void {
    this.refuse(TOO_MANY_CONNECTIONS, null);
    this.flush();
  }

  /** Closes the connection if it has waited for too long. Called about once a second with the context's new time. */
  sweep(): void {
    const { limits, drainIdleUntilMs, monotonicMs } = this.context;
    if (this.phase === Phase.Closed) return;
    if (!this.output.isEmpty) {
      // The kernel reports a writable socket only when it can accept much more: a retry sends the bytes of a slow
      // client.
      this.onDrain();
      if (this.output.isTooSlow) this.cut();
    } else if (this.phase === Phase.Lingering) {
      if (this.wait.hasLasted(limits.lingerMs)) this.socket.end();
    } else if (this.phase === Phase.Body) {
      if (this.held.body?.isTooSlow === true) this.refuseNow(REQUEST_TIMEOUT);
    } else if (this.phase === Phase.Head) {
      if (this.wait.isInHead) {
        if (this.wait.hasLasted(limits.headTimeoutMs)) this.refuseNow(REQUEST_TIMEOUT);
      } else if (monotonicMs >= drainIdleUntilMs || this.wait.hasLasted(limits.idleTimeoutMs)) this.socket.end();
    }
  }

  private cut(): void {
    this.phase = Phase.Closed;
    this.socket.terminate();
  }

  private isBusy(): boolean {
    return this.phase === Phase.Handling || !this.output.isEmpty;
  }

  /** A client that does not accept its answers is not read from any further. */
  private pauseIfFull(): void {
    const mostBytes = this.output.isEmpty ? this.context.limits.readAheadBytes : 1;
    if (this.input.length >= mostBytes && !this.pause.begin(this.input.bytes.length)) this.cut();
  }

  private resumeAndAdvance(): void {
    this.pause.end();
    this.advance();
  }

  /** Processes the received bytes as far as possible. */
  private advance(): void {
    let progress = true;
    while (progress && !this.isBusy()) {
      if (this.phase === Phase.Head) progress = this.readHead();
      else if (this.phase === Phase.Body) progress = this.readBody();
      else progress = false;
      if (!progress || this.context.response.mustGo(FLUSH_BYTES)) this.flush();
    }
    if (!this.isBusy()) {
      if (this.inputEnded) this.endAfterInput();
    } else if (this.input.length > 0) this.pauseIfFull();
  }

  /** @returns whether there is more to do */
  private readHead(): boolean {
    const { input } = this;
    input.skipEmptyLines();
    if (input.length === 0) {
      this.rest();
      return false;
    }
    if (this.wait.isInHead && !input.mayHoldHead(this.context.limits)) return false;

    const { request, limits } = this.context;
    const headEnd = parseHead(request, input.bytes, input.start, input.end, limits);
    if (headEnd === INCOMPLETE) {
      this.waitForHead();
      return false;
    }
    if (headEnd === REFUSED) {
      this.refuse(request.refusal ?? REQUEST_CUT_SHORT, null);
      return false;
    }
    input.start = headEnd;
    this.wait.endHead();
    if (this.context.refusesOtherSites && isCrossSite(request)) {
      this.refuse(CROSS_SITE, request);
      return false;
    }
    if (request.contentLength === NO_LENGTH && !request.chunked) return this.dispatch(request);
    return this.beginBody(request);
  }

  private rest(): void {
    freeBuffer(this.input.bytes);
    this.input.clear();
    this.wait.rest();
  }

  private waitForHead(): void {
    // Half of an empty line is not a head.
    if (this.input.isHalfEmptyLine) return;
    this.wait.beginHead();
    this.input.shrink();
    this.input.markScanned();
  }

  private beginBody(request: ParsedRequest): boolean {
    const { input } = this;
    const { limits } = this.context;
    const length = request.contentLength;
    if (length > limits.bodyBytes) {
      this.refuse(BODY_TOO_LARGE, request);
      return false;
    }
    if (!request.chunked && input.length >= length) {
      request.body = input.bytes;
      request.bodyStart = input.start;
      request.bodyEnd = input.start + length;
      input.start += length;
      return this.dispatch(request);
    }
    if (!this.context.admits(request)) {
      request.keepAlive = false;
      return this.dispatch(request);
    }
    // The body reader keeps the request.
    this.context.request = new ParsedRequest();
    this.held.body = new BodyReader(request, this.context);
    this.phase = Phase.Body;
    if (request.expectsContinue && input.length === 0) {
      this.flush();
      this.output.addShared(CONTINUE, 0, CONTINUE.length);
    }
    return true;
  }

  private readBody(): boolean {
    const { input } = this;
    const bodyReader = this.held.body;
    if (bodyReader === null) throw new Error("a body arrives without its request");
    const refusal = bodyReader.read(input);
    if (input.length === 0) {
      // The packet with the head still belongs to the request.
      if (input.bytes !== bodyReader.request.buffer) freeBuffer(input.bytes);
      input.clear();
    }
    if (refusal !== null) {
      this.refuse(refusal, bodyReader.request);
      return false;
    }
    if (!bodyReader.done) return false;
    this.phase = Phase.Head;
    return this.dispatch(bodyReader.request);
  }

  private dispatch(request: ParsedRequest): boolean {
    const { context } = this;
    const { response } = context;
    response.expect(request);
    request.client = this.socket;
    try {
      const pending = context.handler(request, response);
      if (pending instanceof Promise) {
        this.answerLater(pending, request, response);
        return false;
      }
      if (pending instanceof LateAnswer) {
        this.awaitAnswer(pending, request, response);
        return false;
      }
    } catch (error) {
      answerInternalError(context, error, request, response);
    }
    this.conclude(request, response);
    return this.phase === Phase.Head;
  }

  /** The answer comes later: from now on, request and writer belong to it alone. */
  private answerLater(pending: Promise<void>, request: ParsedRequest, response: ResponseWriter): void {
    const { context } = this;
    this.phase = Phase.Handling;
    this.held.countPacket(request);
    if (!this.output.addShared(response.buffer, response.start, response.answerStart)) this.cut();
    context.response = response.detach();
    if (context.request === request) context.request = new ParsedRequest();
    pending.then(
      () => this.settle(request, response),
      (error: unknown) => {
        answerInternalError(context, error, request, response);
        this.settle(request, response);
      },
    );
  }

  /** The answer comes later, in one piece: only the request has to be kept for it. */
  private awaitAnswer(answer: LateAnswer, request: ParsedRequest, response: ResponseWriter): void {
    const { context } = this;
    this.phase = Phase.Handling;
    this.held.countPacket(request);
    response.rewind();
    this.awaited = request;
    if (context.request === request) context.request = context.spareRequests.pop() ?? new ParsedRequest();
    answer.recipient = this;
  }

  get awaitedRequest(): ParsedRequest {
    if (this.awaited === null) throw new Error("an answer comes that nobody waits for");
    return this.awaited;
  }

  /** The shared writer is empty between events, and so it is when a late answer arrives. */
  openAnswer(): ResponseWriter {
    const { response } = this.context;
    response.expect(this.awaitedRequest);
    return response;
  }

  answerBug(error: unknown): void {
    answerInternalError(this.context, error, this.awaitedRequest, this.context.response);
  }

  closeAnswer(): void {
    const { context, awaitedRequest } = this;
    const { response } = context;
    this.awaited = null;
    this.held.giveBackPacket();
    if (this.phase === Phase.Closed) {
      response.clear();
      return;
    }
    this.phase = Phase.Head;
    this.wait.begin();
    const isSpare = this.held.body === null && context.spareRequests.length < MAX_SPARE_REQUESTS;
    this.conclude(awaitedRequest, response);
    if (isSpare) {
      awaitedRequest.forget();
      context.spareRequests.push(awaitedRequest);
    }
    this.flush();
    if (this.phase === Phase.Head && this.output.isEmpty) this.resumeAndAdvance();
  }

  private settle(request: ParsedRequest, response: ResponseWriter): void {
    this.held.giveBackPacket();
    if (this.phase === Phase.Closed) {
      response.clear();
      return;
    }
    this.phase = Phase.Head;
    this.wait.begin();
    this.conclude(request, response);
    if (!this.output.addAnswers(response)) this.cut();
    else if (response.closes) this.finishWriting();
    else if (this.output.isEmpty) this.resumeAndAdvance();
  }

  /** After the handler: the answer is complete, and the next step is known. */
  private conclude(request: ParsedRequest, response: ResponseWriter): void {
    if (!response.answered)
      answerInternalError(this.context, new Error("the handler gave no answer"), request, response);
    this.held.free(request, this.input);
    if (response.closes) this.linger();
  }

  private refuseNow(refusal: Refusal): void {
    this.refuse(refusal, this.held.body?.request ?? null);
    this.flush();
  }

  /** Answers instead of the handler, and closes. `request` is null if its head was not read. */
  private refuse(refusal: Refusal, request: ParsedRequest | null): void {
    answerRefusal(this.context, refusal, request);
    this.held.release();
    this.linger();
  }

  /** Closing at once would reset the connection while the client is still sending, and discard the answer. */
  private linger(): void {
    this.phase = Phase.Lingering;
    this.wait.begin();
    this.input.clear();
  }

  private flush(): void {
    const { response } = this.context;
    if (response.position > response.start && !this.output.addAnswers(response)) this.cut();
    if (this.phase === Phase.Lingering) this.finishWriting();
  }

  private finishWriting(): void {
    if (!this.output.isEmpty || this.shutDown) return;
    this.shutDown = true;
    this.pause.end();
    if (this.inputEnded) this.socket.end();
    else this.socket.shutdown();
  }

  /** Everything that the client sent before its FIN is answered, or can never be. */
  private endAfterInput(): void {
    if (this.phase === Phase.Body || (this.phase === Phase.Head && this.wait.isInHead))
      this.refuseNow(REQUEST_CUT_SHORT);
    else if (this.phase === Phase.Head) this.socket.end();
  }
}
