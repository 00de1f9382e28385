/**
 * What clients asked of nodes that run, and what they were told: the evidence that the checkers of the soak
 * (`test/soak/checker.ts`) and of linearizability (`test/linearizability/checker.ts`) judge.
 *
 * ```ts
 * const history = new History(() => performance.now());
 * const put = history.begin({ client, node, key, kind: "put", value: history.nextValue() });
 * const answer = await node.put(key, put.value);
 * if (answer.status === 200) history.end(put, "ok");
 * else if (answer.status >= 500) history.unknown(put, `${answer.status}`); // as when no answer comes
 * else history.end(put, "refused");
 * ```
 */

/** Puts carry values that are used once, so that a read names the write that it saw. */
export interface Operation {
  readonly id: number;
  readonly client: string;
  /** Where it was asked: a node of the world, or its database. */
  readonly node: string;
  readonly key: string;
  readonly kind: "put" | "delete" | "get";
  /** Of a put: what it stores. Of a read: what it was given; null = there was nothing. */
  value: number | null;
  /** Monotonic, in ms. */
  readonly startMs: number;
  /** Infinity = nobody knows whether, or when, it takes effect. */
  endMs: number;
  /**
   * - `ok`: it was answered with success;
   * - `refused`: the answer says that nothing was changed;
   * - `unknown`: it may have happened, or happen yet.
   */
  outcome: "ok" | "refused" | "unknown";
  /** Of a delete by pattern: it removes what the node has, which may be nothing. */
  readonly mayMiss: boolean;
  /** A read whose answer said itself that it is stale. */
  isStale: boolean;
}

export type Asked = Pick<Operation, "client" | "node" | "key" | "kind" | "value"> & { readonly mayMiss?: boolean };

export class History {
  readonly operations: Operation[] = [];
  /** Of operations that were acknowledged while the store behind the node is allowed to lose them. */
  doubted = 0;
  /** Why outcomes are unknown, and how many are so, where somebody has said it. */
  readonly reasons = new Map<string, number>();
  #nextValue = 1;

  constructor(private readonly nowMs: () => number) {}

  nextValue(): number {
    return this.#nextValue++;
  }

  /** Notes that an operation is about to be sent. Until it is told otherwise, its outcome is unknown. */
  begin(asked: Asked): Operation {
    const operation: Operation = {
      mayMiss: false,
      ...asked,
      id: this.operations.length,
      startMs: this.nowMs(),
      endMs: Number.POSITIVE_INFINITY,
      outcome: "unknown",
      isStale: false,
    };
    this.operations.push(operation);
    return operation;
  }

  end(operation: Operation, outcome: "ok" | "refused"): void {
    operation.endMs = this.nowMs();
    operation.outcome = outcome;
  }

  /** Nobody knows what became of it: that is its outcome until it is told otherwise, and this says why. */
  unknown(operation: Operation, why: string): void {
    operation.outcome = "unknown";
    this.reasons.set(why, (this.reasons.get(why) ?? 0) + 1);
  }

  /**
   * A store behind the nodes may forget, or bring back, what was done from `fromMs` to `toMs`, though it had acknowledged
   * it: Redis does so in a failover. Takes the claims of these operations back; what they wrote may be there or not.
   */
  doubt(fromMs: number, toMs: number): void {
    for (const operation of this.operations) {
      if (operation.outcome !== "ok" || operation.endMs < fromMs || operation.startMs > toMs) continue;
      this.doubted += operation.kind === "get" ? 0 : 1;
      operation.outcome = "unknown";
      operation.endMs = Number.POSITIVE_INFINITY;
    }
  }
}

/** One line that a person can read. */
export function describeOperation({ id, client, node, key, kind, value, startMs, endMs, outcome }: Operation): string {
  const end = Number.isFinite(endMs) ? endMs.toFixed(1) : "?";
  return `#${id} ${startMs.toFixed(1)}–${end} ms ${client}@${node} ${kind} ${key} ${value ?? "-"} ${outcome}`;
}
