/** Every mutation that any node ever made, and what the rule says of what a node has. */
import { NEVER } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import type { Mutation, PutMutation, TouchMutation } from "../../src/model/mutation.ts";
import { isNewer, type Stamp } from "../../src/model/stamp.ts";

export class History {
  readonly #mutations: Mutation[] = [];
  /** Kept on a disk: everybody must come to know them, unless that disk is lost. */
  readonly #required = new Set<Mutation>();
  readonly #byStamp = new Map<string, Mutation>();
  /** The newest stamp of each node that its disk tells it of. */
  readonly #newestOf = new Map<number, Stamp>();
  /** The same, when the node started last. */
  readonly #floorOf = new Map<number, Stamp>();
  /** How many mutations had been made when a node lost its disk last. */
  readonly #diskLostAt = new Map<number, number>();
  /** What was newer by its stamp, and forgotten by all, when a mutation was made: see `lostDisk`. */
  readonly #forgotten = new Map<Mutation, Set<Mutation>>();
  /** Of the touches of a put: when the first of their expiries comes. */
  readonly #soonestEnd = new Map<string, number>();
  readonly #faults: string[] = [];

  /** `isKnown`: whether any node has a mutation, or anything newer of the key, or somebody has yet to get it. */
  constructor(private readonly isKnown: (mutation: Mutation, key: string) => boolean) {}

  /** Stamps that went back, though their node could know better. */
  get faults(): readonly string[] {
    return this.#faults;
  }

  /** From now on the node stamps newer than all that its disk knows of. */
  started(nodeId: number): void {
    const newest = this.#newestOf.get(nodeId);
    if (newest === undefined) this.#floorOf.delete(nodeId);
    else this.#floorOf.set(nodeId, newest);
  }

  made(mutation: Mutation): void {
    // A put with another expiry: nothing is newer than it that was not before.
    if (isTouch(mutation)) {
      this.#noteTouch(mutation);
      return;
    }
    const { stamp } = mutation;
    // What depends on the stored entry is made when it is applied there, and recorded later: as it stands then.
    if (this.#byStamp.has(nameOf(stamp))) return;
    const before = this.#floorOf.get(stamp.nodeId);
    if (before !== undefined && !isNewer(stamp, before)) {
      this.#faults.push(`${nameOf(stamp)} was given after ${nameOf(before)}`);
    }
    this.#noteForgotten(mutation);
    this.#mutations.push(mutation);
    this.#byStamp.set(nameOf(mutation.stamp), mutation);
  }

  committed(stamp: Stamp): void {
    const mutation = this.#byStamp.get(nameOf(stamp));
    if (mutation !== undefined) this.#required.add(mutation);
  }

  /** Its node's disk has it: no restart makes the node stamp older. */
  kept(stamp: Stamp): void {
    const before = this.#newestOf.get(stamp.nodeId);
    if (before === undefined || isNewer(stamp, before)) this.#newestOf.set(stamp.nodeId, stamp);
    this.committed(stamp);
  }

  /** The disk that kept it is gone: some may know of it, and some never will. */
  lost(row: Mutation): void {
    for (const mutation of this.#required) {
      const { version, nodeId } = mutation.stamp;
      if (nodeId !== row.stamp.nodeId || version > row.stamp.version) continue;
      // A row stands for the older ones of its key, too, and one about many keys for all that waited.
      const isSame = row.kind === "invalidate" || (mutation.kind !== "invalidate" && mutation.key === row.key);
      if (isSame || nameOf(mutation.stamp) === nameOf(row.stamp)) {
        this.#required.delete(mutation);
      }
    }
  }

  /**
   * A node without its disk may stamp older than what it had seen before: its clock may be behind, and the others not heard
   * yet, or too far ahead to be believed. Where they have forgotten all that was newer, nobody can know.
   */
  lostDisk(nodeId: number): void {
    this.#newestOf.delete(nodeId);
    this.#diskLostAt.set(nodeId, this.#mutations.length);
  }

  /** Of one node's mutations, those from a version on. */
  lostSince(nodeId: number, version: number): void {
    for (const mutation of this.#required) {
      if (mutation.stamp.nodeId === nodeId && mutation.stamp.version >= version) this.#required.delete(mutation);
    }
  }

  /** What is wrong with an entry; null = nothing. */
  faultOf(key: string, stamp: Stamp, value: string): string | null {
    const made = this.#byStamp.get(nameOf(stamp));
    if (made === undefined || made.kind !== "put" || made.key !== key) return "nobody ever put it";
    if (made.value.bytes.toString() !== value) return `its value is not the one that was put: ${made.value.bytes}`;
    const newest = this.#newestBeside(key, made);
    if (newest === null || !isNewer(newest.stamp, stamp)) return null;
    return `it should have made way for ${newest.kind} ${nameOf(newest.stamp)}`;
  }

  /** The newest mutation that everybody must know. */
  newest(key: string): Mutation | null {
    return this.#newestBeside(key, null);
  }

  /** Without those that all had forgotten when this one was made. */
  #newestBeside(key: string, later: Mutation | null): Mutation | null {
    let newest: Mutation | null = null;
    for (const mutation of this.#required) {
      if (!isAbout(mutation, key)) continue;
      if (later !== null && this.#forgotten.get(later)?.has(mutation) === true) continue;
      if (newest === null || isNewer(mutation.stamp, newest.stamp)) newest = mutation;
    }
    return newest;
  }

  #noteForgotten(made: Mutation): void {
    const lostAt = this.#diskLostAt.get(made.stamp.nodeId);
    if (lostAt === undefined || made.kind !== "put") return;
    const forgotten = new Set<Mutation>();
    for (const earlier of this.#mutations.slice(0, lostAt)) {
      const isOlder = !isNewer(earlier.stamp, made.stamp);
      if (isOlder || !isAbout(earlier, made.key) || this.isKnown(earlier, made.key)) continue;
      forgotten.add(earlier);
    }
    if (forgotten.size > 0) this.#forgotten.set(made, forgotten);
  }

  /** Whether neither a put's own expiry nor that of any touch of it has come. */
  isAlive({ stamp, expiresAtMs }: PutMutation, nowMs: number): boolean {
    const soonest = this.#soonestEnd.get(nameOf(stamp)) ?? NEVER;
    return [expiresAtMs, soonest].every((endMs) => endMs === NEVER || endMs > nowMs);
  }

  #noteTouch({ stamp, expiresAtMs }: TouchMutation): void {
    const known = this.#soonestEnd.get(nameOf(stamp)) ?? NEVER;
    if (expiresAtMs !== NEVER && (known === NEVER || expiresAtMs < known)) {
      this.#soonestEnd.set(nameOf(stamp), expiresAtMs);
    }
  }

  /** Whether another node gave the same version to the key: an engine that has forgotten the older refuses both. */
  hasTwin({ stamp }: Mutation, key: string): boolean {
    return this.#mutations.some(
      (other) => other.stamp.version === stamp.version && other.stamp.nodeId !== stamp.nodeId && isAbout(other, key),
    );
  }

  placeOf(mutation: Mutation): number {
    return this.#mutations.indexOf(mutation);
  }

  get size(): number {
    return this.#mutations.length;
  }
}

export function nameOf({ version, nodeId }: Stamp): string {
  return `${version}/${nodeId}`;
}

export function isTouch(mutation: Mutation): mutation is TouchMutation {
  return mutation.kind === "touch";
}

function isAbout(mutation: Mutation, key: string): boolean {
  if (mutation.kind !== "invalidate") return mutation.key === key;
  if (mutation.pattern === null) return true;
  const bytes = Buffer.from(key);
  return Glob.parse(mutation.pattern).matches(bytes, 0, bytes.length);
}
