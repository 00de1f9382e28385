import type { HeadMembers } from "./wire/message.ts";

/** The identity of a node in its messages to peers. */
export class NodeIdentity {
  /** `incarnation`: different after each start. */
  constructor(
    /** The node id in its stamps, from 1 to 2^32 - 1. */
    readonly id: number,
    readonly incarnation: number,
  ) {}

  /** The members of every message that identify the sender. */
  signature(nowMs: number): HeadMembers & { readonly id: number } {
    return { id: this.id, incarnation: this.incarnation, clock: Math.floor(nowMs) };
  }
}
