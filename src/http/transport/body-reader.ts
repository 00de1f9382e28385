import { BodyBuffer } from "./body-buffer.ts";
import { ChunkedDecoder } from "./chunked.ts";
import type { InputQueue } from "./input-queue.ts";
import { Pace, type PaceContext } from "./pace.ts";
import { OVERLOADED, type Refusal } from "./refusal.ts";
import type { ParsedRequest } from "./request.ts";

/** Puts together the body of a request whose packets come one after the other, sized or chunked. */
export class BodyReader {
  private readonly body: BodyBuffer;
  private readonly decoder: ChunkedDecoder | null;
  private readonly pace: Pace;

  /** @param request kept until the body is whole: nobody else may parse into it */
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

  /** Takes what has arrived of the body, and gives it to the request once it is whole (`done`). */
  read(input: InputQueue): Refusal | null {
    const arrivedBytes = input.length;
    const refusal = this.decoder === null ? this.readSized(input) : this.readChunked(this.decoder, input);
    this.pace.moved(arrivedBytes - input.length);
    this.request.body = this.body.bytes;
    this.request.bodyStart = 0;
    this.request.bodyEnd = this.body.length;
    return refusal;
  }

  /** Whether too little arrives of it. To be asked in every sweep. */
  get isTooSlow(): boolean {
    return this.pace.isTooSlow(this.context.limits.bodyTimeoutMs);
  }

  /** Gives the body's memory back to the budget; a handler may still be reading it. Call this, or `free`, once. */
  release(): void {
    this.body.release();
  }

  /** As `release`, after the handler. */
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
