import { BodyBuffer } from "./body-buffer.ts";
import { ChunkedDecoder } from "./chunked.ts";
import type { InputQueue } from "./input-queue.ts";
import { Pace, type PaceContext } from "./pace.ts";
import { OVERLOADED, type Refusal } from "./refusal.ts";
import type { ParsedRequest } from "./request.ts";

/** Assembles the body of a request from its packets, sized or chunked. */
export class BodyReader {
  private readonly body: BodyBuffer;
  private readonly decoder: ChunkedDecoder | null;
  private readonly pace: Pace;

  /** @param request kept until the body is complete: nothing else may parse into it */
  constructor(
    readonly request: ParsedRequest,
    private readonly context: PaceContext,
  ) {
    const { budget, limits } = context;
    this.pace = new Pace(context);
    this.pace.begin();
    this.body = new BodyBuffer(budget, request.chunked ? limits.bodyBytes : request.contentLength);
    this.decoder = request.chunked ? new ChunkedDecoder(this.body, limits) : null;
  }

  get done(): boolean {
    return this.decoder === null ? this.body.length === this.request.contentLength : this.decoder.done;
  }

  /** Consumes the received bytes, and passes the body to the request when it is complete (`done`). */
  read(input: InputQueue): Refusal | null {
    const arrivedBytes = input.length;
    const refusal = this.decoder === null ? this.readSized(input) : this.readChunked(this.decoder, input);
    this.pace.moved(arrivedBytes - input.length);
    this.request.body = this.body.bytes;
    this.request.bodyStart = 0;
    this.request.bodyEnd = this.body.length;
    return refusal;
  }

  /** Whether the body arrives too slowly. To be called in every sweep. */
  get isTooSlow(): boolean {
    return this.pace.isTooSlow(this.context.limits.bodyTimeoutMs);
  }

  /** Returns the body's bytes to the budget while a handler may still read them. Call either this or `free`, once. */
  release(): void {
    this.body.release();
  }

  /** Like `release`, after the handler. */
  free(): void {
    this.body.free();
  }

  private readSized(input: InputQueue): Refusal | null {
    const end = Math.min(input.end, input.start + this.request.contentLength - this.body.length);
    if (!this.body.append(input.bytes, input.start, end)) return OVERLOADED;
    input.start = end;
    return null;
  }

  private readChunked(decoder: ChunkedDecoder, input: InputQueue): Refusal | null {
    input.start = decoder.push(input.bytes, input.start, input.end);
    return decoder.refusal;
  }
}
