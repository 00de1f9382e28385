/**
 * Mutations on the way from an HTTP thread to the main thread: one buffer that changes hands costs a message the same
 * whether it carries one mutation or a hundred. Each stands behind a byte that is 1 where it is replicated, else 0.
 */

import type { Mutation } from "../model/mutation.ts";
import { MutationReader, mostBytes, writeMutation } from "../model/mutation-codec.ts";
import { GrowingBuffer } from "../runtime/growing-buffer.ts";

const FIRST_BYTES = 16 * 1024;

export class MutationWriter {
  /** How many mutations are in it. */
  count = 0;
  readonly #frames = new GrowingBuffer(FIRST_BYTES);

  add(mutation: Mutation): void {
    const frames = this.#frames;
    const buffer = frames.room(1 + mostBytes(mutation));
    buffer[frames.length] = mutation.isReplicated === true ? 1 : 0;
    frames.length = writeMutation(buffer, frames.length + 1, mutation);
    this.count += 1;
  }

  /** Gives the bytes away, and begins anew. */
  take(): Uint8Array<ArrayBuffer> {
    this.count = 0;
    return this.#frames.take();
  }
}

/** Reads what a writer has given away. The values are views of it. */
export function readMutations(taken: Uint8Array<ArrayBuffer>): Mutation[] {
  const buffer = Buffer.from(taken.buffer, taken.byteOffset, taken.byteLength);
  const reader = new MutationReader(buffer);
  const mutations: Mutation[] = [];
  while (!reader.isAtEnd) {
    const isReplicated = buffer[reader.at] === 1;
    reader.at += 1;
    const mutation = reader.next();
    mutations.push(isReplicated ? { ...mutation, isReplicated } : mutation);
  }
  return mutations;
}
