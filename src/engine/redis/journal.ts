import type { DeleteRequest, IncrementRequest, Key, KeyPattern, PutRequest, Stamp, TouchRequest } from "../engine.ts";

/** A mutation that was accepted while Redis was away. Everything in it is a copy. */
export type JournaledMutation =
  | { readonly kind: "put"; readonly request: PutRequest }
  | { readonly kind: "delete"; readonly request: DeleteRequest }
  | { readonly kind: "touch"; readonly request: TouchRequest }
  | { readonly kind: "increment"; readonly request: IncrementRequest }
  | { readonly kind: "delete-matching"; readonly pattern: KeyPattern; readonly stamp: Stamp }
  | { readonly kind: "clear"; readonly stamp: Stamp };

/** What a mutation costs beside key and value: a generous guess at the objects around them. */
const OVERHEAD_BYTES = 256;

/** Mutations in the order in which they were accepted, bounded in bytes. It lives in memory: it ends with the node. */
export class Journal {
  readonly #limitBytes: number;
  #usedBytes = 0;
  #mutations: JournaledMutation[] = [];
  #first = 0;
  /** How many touches and increments of a key are waiting: they build on the put before them. */
  readonly #adjustments = new Map<string, number>();

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get length(): number {
    return this.#mutations.length - this.#first;
  }

  hasRoomFor(mutation: JournaledMutation): boolean {
    return this.#usedBytes + sizeOf(mutation) <= this.#limitBytes;
  }

  append(mutation: JournaledMutation): void {
    this.#mutations.push(mutation);
    this.#usedBytes += sizeOf(mutation);
    this.#countAdjustment(mutation, 1);
  }

  /** Whether a touch or an increment of the key is waiting. */
  adjustsLater(key: Key): boolean {
    return this.#adjustments.has(textOf(key));
  }

  /**
   * The oldest mutations that may be sent together: of different keys, and only those that a server executes in the
   * order in which they are sent. Others come alone.
   */
  nextBatch(limit: number): JournaledMutation[] {
    const batch: JournaledMutation[] = [];
    const keys = new Set<string>();
    for (let at = this.#first; at < this.#mutations.length && batch.length < limit; at++) {
      const mutation = this.#mutations[at];
      if (mutation === undefined) break;
      const isPlain = mutation.kind === "put" || mutation.kind === "delete";
      if (!isPlain) return batch.length === 0 ? [mutation] : batch;
      const name = textOf(mutation.request.key);
      if (keys.has(name)) break;
      keys.add(name);
      batch.push(mutation);
    }
    return batch;
  }

  /** Forgets the oldest mutations: they are done. */
  drop(count: number): void {
    for (let left = count; left > 0; left--) {
      const mutation = this.#mutations[this.#first];
      if (mutation === undefined) break;
      this.#usedBytes -= sizeOf(mutation);
      this.#countAdjustment(mutation, -1);
      this.#first++;
    }
    if (this.#first > 1024 || this.#first === this.#mutations.length) {
      this.#mutations = this.#mutations.slice(this.#first);
      this.#first = 0;
    }
  }

  #countAdjustment(mutation: JournaledMutation, change: 1 | -1): void {
    if (mutation.kind !== "touch" && mutation.kind !== "increment") return;
    const name = textOf(mutation.request.key);
    const count = (this.#adjustments.get(name) ?? 0) + change;
    if (count === 0) this.#adjustments.delete(name);
    else this.#adjustments.set(name, count);
  }
}

/** A key of one's own, for as long as it is needed. */
export function copyKey(key: Key): Key {
  return { bytes: Buffer.from(key.bytes.subarray(0, key.length)), length: key.length };
}

function textOf(key: Key): string {
  return key.bytes.toString("utf8", 0, key.length);
}

function sizeOf(mutation: JournaledMutation): number {
  switch (mutation.kind) {
    case "put":
      return OVERHEAD_BYTES + mutation.request.key.length + mutation.request.end - mutation.request.start;
    case "delete":
    case "touch":
    case "increment":
      return OVERHEAD_BYTES + mutation.request.key.length;
    case "delete-matching":
      return OVERHEAD_BYTES + mutation.pattern.text.length;
    case "clear":
      return OVERHEAD_BYTES;
  }
}
