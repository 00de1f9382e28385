import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { CountedBytes } from "../../runtime/counted-bytes.ts";
import type { BodyReader } from "./body-reader.ts";
import { freeBuffer } from "./free-buffer.ts";
import type { InputQueue } from "./input-queue.ts";
import type { ParsedRequest } from "./request.ts";

/** A packet of at least this size counts as a body while its request waits for an answer. */
const LARGE_PACKET_BYTES = 16 * 1024;

/** The bytes of a request that are held until it is answered: a body that arrives later, or a large packet. */
export class RequestBytes {
  /** Set from the head of a request whose body arrives later until its answer. */
  body: BodyReader | null = null;
  private readonly packet: CountedBytes;

  constructor(budget: ByteBudget) {
    this.packet = new CountedBytes(budget, InFlight.Bodies);
  }

  /** A packet that contains a large body is kept until the answer. */
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
    // The packet with the head; bytes behind the body are in another packet, or they would still be in the queue.
    if (input.bytes !== request.buffer) freeBuffer(request.buffer);
  }

  /** Returns the body's bytes to the budget, though a handler may still read them. */
  release(): void {
    this.body?.release();
    this.body = null;
  }
}
