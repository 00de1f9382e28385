import type { HeadMembers } from "./wire/message.ts";

/** What a node says of itself to its peers. */
export class NodeIdentity {
  /** `incarnation`: another one after each start. */
  constructor(
    /** Origin of its stamps, from 1 to 2^32 - 1. */
    readonly id: number,
    readonly incarnation: number,
  ) {}

  /** Part of every message, so that the other knows whose it is. */
  signature(nowMs: number): HeadMembers & { readonly id: number } {
    return { id: this.id, incarnation: this.incarnation, clock: Math.floor(nowMs) };
  }
}
