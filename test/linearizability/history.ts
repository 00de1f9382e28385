/**
 * Records calls with their starts and ends, for `violations`.
 *
 * ```ts
 * const history = new History();
 * const call = history.begin(client, key, { kind: "put", value: "7", ttlMs: null });
 * const answer = await node.put(key, "7");
 * if (answer.status === 200) call.done();
 * else if (answer.status >= 500) call.unknown(); // and when the connection is lost
 * // A call that is known to have changed nothing is left out: never ended, never recorded.
 * expect(violations(history.operations, { evicts: false }).map(shownViolation)).toEqual([]);
 * ```
 */
import type { Violation } from "./checker.ts";
import type { Call, Operation } from "./register.ts";

export interface OpenCall {
  /** The answer came; of a read, with what it saw. */
  done(seen?: string | null): void;
  /** No answer, or one that says that it may be done later. */
  unknown(why?: string): void;
}

export class History {
  readonly operations: Operation[] = [];
  /** Why outcomes are unknown, and how many are so. */
  readonly reasons = new Map<string, number>();

  /** `nowMs` is a monotonic clock. */
  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  begin(client: number, key: string, call: Call): OpenCall {
    const startMs = this.nowMs();
    const end = (outcome: "done" | "unknown", seen: string | null | undefined): void => {
      const made = call.kind === "get" && seen !== undefined ? { ...call, value: seen } : call;
      this.operations.push({ key, client, call: made, startMs, endMs: this.nowMs(), outcome });
    };
    const unknown = (why = "no answer"): void => {
      this.reasons.set(why, (this.reasons.get(why) ?? 0) + 1);
      end("unknown", undefined);
    };
    return { done: (seen) => end("done", seen), unknown };
  }
}

/** The last calls before the one that fits nowhere, one a line. */
export function shownViolation({ key, calls }: Violation, most = 24): string {
  return [`${key}: the last call fits into no order of the calls before it`, ...calls.slice(-most).map(shown)].join(
    "\n  ",
  );
}

function shown({ client, call, startMs, endMs, outcome }: Operation): string {
  const value = "value" in call ? ` ${call.value ?? "nothing"}` : "";
  const end = outcome === "done" ? endMs.toFixed(3) : `${endMs.toFixed(3)} or later or never`;
  return `client ${client}: ${call.kind}${value} from ${startMs.toFixed(3)} to ${end}`;
}
