/** A recorded history as operations on registers, and how a violation is shown. */
import type { Operation as Recorded } from "../support/history.ts";
import type { Violation } from "./checker.ts";
import type { Call, Operation } from "./register.ts";

/** What the checker can use: not what was refused, and no read whose answer never came. */
export function registerOperations(recorded: readonly Recorded[]): Operation[] {
  const operations: Operation[] = [];
  for (const { key, client, kind, value, startMs, endMs, outcome } of recorded) {
    if (outcome === "refused" || (outcome === "unknown" && kind === "get")) continue;
    const text = value === null ? null : String(value);
    const call = callOf(kind, text);
    operations.push({ key, client, call, startMs, endMs, outcome: outcome === "ok" ? "done" : "unknown" });
  }
  return operations;
}

function callOf(kind: Recorded["kind"], value: string | null): Call {
  if (kind === "get") return { kind, value };
  if (kind === "delete") return { kind };
  return { kind, value: value ?? "", ttlMs: null };
}

/** The last calls before the one that fits nowhere, one a line. */
export function shownViolation({ key, calls }: Violation, most = 24): string {
  return [`${key}: the last call fits into no order of the calls before it`, ...calls.slice(-most).map(shown)].join(
    "\n  ",
  );
}

function shown({ client, call, startMs, endMs, outcome }: Operation): string {
  const value = "value" in call ? ` ${call.value ?? "nothing"}` : "";
  const end = outcome === "done" ? endMs.toFixed(3) : "whenever, or never";
  return `client ${client}: ${call.kind}${value} from ${startMs.toFixed(3)} to ${end}`;
}
