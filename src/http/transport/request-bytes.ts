import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { CountedBytes } from "../../runtime/counted-bytes.ts";
import type { BodyReader } from "./body-reader.ts";
import { freeBuffer } from "./free-buffer.ts";
import type { InputQueue } from "./input-queue.ts";
import type { ParsedRequest } from "./request.ts";

/** A packet of this size, or more, counts as a body where its request waits for an answer. */
const LARGE_PACKET_BYTES = 16 * 1024;

/** The bytes of a request that are held until it is answered: a body that comes later, or a large packet. */
export class RequestBytes {
  /** From the head of a request whose body comes later until its answer. */
  body: BodyReader | null = null;
  private readonly packet: CountedBytes;

  constructor(budget: ByteBudget) {
    this.packet = new CountedBytes(budget, InFlight.Bodies);
  }

  /** A packet that holds a large body is kept until the answer comes. */
  countPacket(request: ParsedRequest): void {
    const { length } = request.buffer;
    if (this.body === null && length >= LARGE_PACKET_BYTES) this.packet.count(length);
  }

  giveBackPacket(): void {
    this.packet.giveBack();
  }

  /** The request is answered. */
  free(request: ParsedRequest, input: InputQueue): void {
    if (this.body === null) return;
    this.body.free();
    this.body = null;
    // The packet with the head; what came behind the body is in another, or its bytes would still be in the queue.
    if (input.bytes !== request.buffer) freeBuffer(request.buffer);
  }

  /** The budget gets the body back, though a handler may still read it. */
  release(): void {
    this.body?.release();
    this.body = null;
  }
}
