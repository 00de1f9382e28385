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

/** Mutations to send together, and how many places of the journal they and their forgotten neighbours take. */
export interface JournalBatch {
  readonly mutations: readonly JournaledMutation[];
  readonly places: number;
}

/**
 * Mutations in the order in which they were accepted, bounded in bytes. A put or delete makes the one of the same key
 * before it pointless, which is then forgotten: so a replay ends, however busy a key is meanwhile.
 * The journal lives in memory: it ends with the node.
 */
export class Journal {
  readonly #limitBytes: number;
  #usedBytes = 0;
  /** Null = forgotten. */
  #places: (JournaledMutation | null)[] = [];
  /** How many places were dropped since the beginning: the number of the first place. */
  #dropped = 0;
  /** The number of the place of each key's last put or delete. */
  readonly #lastOf = new Map<string, number>();
  /** How many touches and increments of a key are waiting: they build on the put before them. */
  readonly #adjustments = new Map<string, number>();

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get isEmpty(): boolean {
    return this.#places.length === 0;
  }

  hasRoomFor(mutation: JournaledMutation): boolean {
    return this.#usedBytes + sizeOf(mutation) <= this.#limitBytes;
  }

  append(mutation: JournaledMutation): void {
    if (replacesState(mutation)) {
      const name = textOf(mutation.request.key);
      const last = this.#lastOf.get(name);
      if (last !== undefined) this.#forget(last - this.#dropped);
      this.#lastOf.set(name, this.#dropped + this.#places.length);
    }
    this.#places.push(mutation);
    this.#usedBytes += sizeOf(mutation);
    this.#countAdjustment(mutation, 1);
  }

  /** Whether a touch or an increment of the key is waiting. */
  adjustsLater(key: Key): boolean {
    return this.#adjustments.has(textOf(key));
  }

  /**
   * The oldest mutations that may be sent together: puts and deletes of different keys. Others come alone.
   */
  nextBatch(limit: number): JournalBatch {
    const mutations: JournaledMutation[] = [];
    const names = new Set<string>();
    let places = 0;
    for (const mutation of this.#places) {
      if (mutation !== null) {
        if (!replacesState(mutation)) {
          if (mutations.length === 0) return { mutations: [mutation], places: places + 1 };
          break;
        }
        const name = textOf(mutation.request.key);
        if (mutations.length === limit || names.has(name)) break;
        names.add(name);
        mutations.push(mutation);
      }
      places++;
    }
    return { mutations, places };
  }

  /** Forgets the oldest mutations: they are done. */
  drop(places: number): void {
    for (let index = 0; index < places; index++) {
      const mutation = this.#places[index] ?? null;
      if (mutation === null) continue;
      if (replacesState(mutation)) this.#lastOf.delete(textOf(mutation.request.key));
      this.#countAdjustment(mutation, -1);
      this.#forget(index);
    }
    this.#places.splice(0, places);
    this.#dropped += places;
  }

  #forget(index: number): void {
    const mutation = this.#places[index] ?? null;
    if (mutation === null) return;
    this.#usedBytes -= sizeOf(mutation);
    this.#places[index] = null;
  }

  #countAdjustment(mutation: JournaledMutation, change: 1 | -1): void {
    if (mutation.kind !== "touch" && mutation.kind !== "increment") return;
    const name = textOf(mutation.request.key);
    const count = (this.#adjustments.get(name) ?? 0) + change;
    if (count === 0) this.#adjustments.delete(name);
    else this.#adjustments.set(name, count);
  }
}

/** Whether a mutation sets the state of one key, whatever it was before. */
function replacesState(
  mutation: JournaledMutation,
): mutation is Extract<JournaledMutation, { kind: "put" | "delete" }> {
  return mutation.kind === "put" || mutation.kind === "delete";
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
