import { type BodyBudget, BodyBuffer } from "./body-buffer.ts";
import { ChunkedDecoder } from "./chunked.ts";
import type { InputQueue } from "./input-queue.ts";
import type { HttpLimits } from "./limits.ts";
import { OVERLOADED, type Refusal } from "./refusal.ts";
import type { ParsedRequest } from "./request.ts";

/** Puts together the body of a request whose packets come one after the other, sized or chunked. */
export class BodyReader {
  private readonly body: BodyBuffer;
  private readonly decoder: ChunkedDecoder | null;

  /** @param request kept until the body is whole: nobody else may parse into it */
  constructor(
    readonly request: ParsedRequest,
    budget: BodyBudget,
    limits: HttpLimits,
  ) {
    this.body = new BodyBuffer(budget, request.chunked ? limits.bodyBytes : request.contentLength);
    this.decoder = request.chunked ? new ChunkedDecoder(this.body, limits) : null;
  }

  get done(): boolean {
    return this.decoder === null ? this.body.length === this.request.contentLength : this.decoder.done;
  }

  /** Takes what has arrived of the body, and gives it to the request once it is whole (`done`). */
  read(input: InputQueue): Refusal | null {
    const refusal = this.decoder === null ? this.readSized(input) : this.readChunked(this.decoder, input);
    this.request.body = this.body.bytes;
    this.request.bodyStart = 0;
    this.request.bodyEnd = this.body.length;
    return refusal;
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
