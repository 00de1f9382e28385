/** The mutations of a client, as the pipeline takes them: what each commits, and what it does to the engine. */

import type { Condition, DeleteOutcome, Engine, IncrementOutcome, PutOutcome, TouchOutcome } from "../engine/engine.ts";
import type { Completion } from "../model/completion.ts";
import { type Attributes, type CacheValue, JSON_ATTRIBUTES, NO_TOMBSTONE, valueWith } from "../model/entry.ts";
import { type Key, keyOf, nameOf } from "../model/key.ts";
import type { Mutation, PutMutation } from "../model/mutation.ts";
import { FILL_NODE_ID, type Stamp } from "../model/stamp.ts";
import { type Awaitable, after } from "../runtime/awaitable.ts";
import { type CapturedEntry, EntryCapture } from "./entry-capture.ts";
import { type ApplyFirst, CommitFirst, type CommitParts, type MutationContext } from "./pipeline.ts";
import type { StampedWrites } from "./stamped-writes.ts";

/** A value to be stored: `source[start .. end)`, which must stay as it is until the put is answered. */
export interface NewValue {
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
}

/** A put without a condition. */
export class Put extends CommitFirst<PutOutcome> implements PutMutation {
  readonly kind = "put";

  constructor(
    parts: CommitParts,
    key: string,
    place: number,
    readonly value: CacheValue,
    readonly expiresAtMs: number,
    context: MutationContext,
    completion: Completion<PutOutcome>,
  ) {
    super(parts, key, place, context, completion);
  }

  protected override get mutation(): Mutation {
    return this;
  }

  protected override apply(): Awaitable<PutOutcome> {
    const { writes } = this.parts;
    const { value, expiresAtMs, stamp } = this;
    const { bytes: source } = value;
    const end = source.length;
    const key = writes.keyFor(this.key);
    return writes.put({ key, source, start: 0, end, attributes: value, expiresAtMs, stamp, condition: null });
  }
}

/** A delete without a condition. */
export class Delete extends CommitFirst<DeleteOutcome> {
  readonly kind = "delete";

  constructor(
    parts: CommitParts,
    key: string,
    place: number,
    private readonly tombstoneUntilMs: () => number,
    context: MutationContext,
    completion: Completion<DeleteOutcome>,
  ) {
    super(parts, key, place, context, completion);
  }

  protected override get mutation(): Mutation {
    return this;
  }

  protected override apply(): Awaitable<DeleteOutcome> {
    const { stamp } = this;
    const tombstoneUntilMs = this.tombstoneUntilMs();
    return this.parts.engine.delete({ key: keyOf(this.key), stamp, condition: null, tombstoneUntilMs });
  }
}

export class ConditionalPut implements ApplyFirst<PutOutcome> {
  readonly superseded = "superseded";
  readonly refusesStrangeKeys: boolean;

  constructor(
    private readonly writes: StampedWrites,
    readonly key: Key,
    private readonly value: NewValue,
    private readonly expiresAtMs: number,
    private readonly condition: Condition,
    private readonly context: MutationContext,
  ) {
    this.refusesStrangeKeys = !context.isReplicated;
  }

  apply(stamp: Stamp, isThere: boolean | null): Awaitable<PutOutcome> {
    const { key, expiresAtMs, condition } = this;
    // It may have expired here since.
    if (isThere === true && condition.kind === "absent") return "condition-failed";
    return this.writes.put({ key, ...this.value, expiresAtMs, stamp, condition });
  }

  mutationOf(outcome: PutOutcome, stamp: Stamp): Mutation | null {
    if (outcome !== "stored") return null;
    const { source, start, end, attributes } = this.value;
    const value = valueWith(source.subarray(start, end), attributes);
    return putOf(this.key, { value, expiresAtMs: this.expiresAtMs, stamp }, this.context);
  }
}

/** With nothing behind the cache also one without a condition. */
export class ConditionalDelete implements ApplyFirst<DeleteOutcome> {
  readonly superseded = "superseded";
  readonly refusesStrangeKeys = false;

  constructor(
    private readonly engine: Engine,
    readonly key: Key,
    private readonly condition: Condition | null,
    private readonly tombstoneUntilMs: () => number,
    private readonly context: MutationContext,
  ) {}

  apply(stamp: Stamp): Awaitable<DeleteOutcome> {
    const { key, condition } = this;
    return this.engine.delete({ key, stamp, condition, tombstoneUntilMs: this.tombstoneUntilMs() });
  }

  mutationOf(outcome: DeleteOutcome, stamp: Stamp): Mutation | null {
    return outcome === "deleted" ? { kind: "delete", key: nameOf(this.key), stamp, ...this.context } : null;
  }
}

/** The stamp of a touch is for those who must know of it; the entry keeps its own. */
export class Touch implements ApplyFirst<TouchOutcome | "superseded"> {
  readonly superseded = "superseded";
  readonly refusesStrangeKeys = false;

  constructor(
    private readonly engine: Engine,
    readonly key: Key,
    private readonly expiresAtMs: number,
    private readonly condition: Condition | null,
    private readonly context: MutationContext,
  ) {}

  apply(_stamp: Stamp, isThere: boolean | null): Awaitable<TouchOutcome | "superseded"> {
    const { key, expiresAtMs, condition } = this;
    const touched = this.engine.touch({ key, expiresAtMs, seen: null, condition });
    // It has expired here since it was fetched.
    if (isThere === true) return after(touched, (outcome) => (outcome === "absent" ? "superseded" : outcome));
    return touched;
  }

  async mutationOf(outcome: TouchOutcome | "superseded", stamp: Stamp): Promise<Mutation | null> {
    const entry = outcome === "touched" ? await captured(this.engine, this.key) : null;
    // A copy of what the database has is nobody else's affair, nor is how long it is kept.
    if (entry === null || entry.stamp.nodeId === FILL_NODE_ID) return null;
    return { ...putOf(this.key, entry, this.context), kind: "touch", touch: stamp };
  }
}

const SUPERSEDED_COUNT: IncrementOutcome = { kind: "superseded" };

export class Increment implements ApplyFirst<IncrementOutcome> {
  readonly superseded = SUPERSEDED_COUNT;
  readonly refusesStrangeKeys: boolean;

  constructor(
    private readonly engine: Engine,
    readonly key: Key,
    private readonly delta: number,
    private readonly expiresAtMsIfNew: number,
    private readonly condition: Condition | null,
    private readonly nowMs: () => number,
    private readonly context: MutationContext,
  ) {
    this.refusesStrangeKeys = !context.isReplicated;
  }

  apply(stamp: Stamp, isThere: boolean | null): Awaitable<IncrementOutcome> {
    const { key, delta, expiresAtMsIfNew, condition } = this;
    if (isThere === true && condition?.kind === "absent") return { kind: "condition-failed" };
    const request = { key, delta, expiresAtMsIfNew, stamp };
    if (condition !== null || isThere === null) return this.engine.increment({ ...request, condition });
    // What has expired here since it was fetched must not be counted from 0: the backend has more.
    const asFetched: Condition = { kind: isThere ? "present" : "absent" };
    return after(this.engine.increment({ ...request, condition: asFetched }), (outcome) =>
      outcome.kind === "condition-failed" ? this.superseded : outcome,
    );
  }

  async mutationOf(outcome: IncrementOutcome, stamp: Stamp): Promise<Mutation | null> {
    if (outcome.kind !== "incremented") return null;
    // Where it has expired or was evicted since, the backend is to have what was counted all the same.
    const value = valueWith(Buffer.from(String(outcome.value)), JSON_ATTRIBUTES);
    const counted = { value, expiresAtMs: this.nowMs(), stamp };
    return putOf(this.key, (await captured(this.engine, this.key)) ?? counted, this.context);
  }
}

/** Until when a delete of now has to be remembered. */
export function tombstones(tombstoneMs: number, nowMs: () => number): () => number {
  return () => (tombstoneMs === 0 ? NO_TOMBSTONE : nowMs() + tombstoneMs);
}

function putOf(key: Key, entry: CapturedEntry, context: MutationContext): PutMutation {
  return { kind: "put", key: nameOf(key), ...entry, ...context };
}

async function captured(engine: Engine, key: Key): Promise<CapturedEntry | null> {
  const capture = new EntryCapture();
  return (await engine.get(key, capture)) ? capture.entry() : null;
}
