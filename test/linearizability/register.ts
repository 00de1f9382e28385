/**
 * What one key of a cache may do: a register of values with expiry and eviction, as far as its clients can tell.
 *
 * Times are ms of one monotonic clock. Values are unique, so that a read says which write it saw.
 */

export type Call =
  | { readonly kind: "put"; readonly value: string; readonly ttlMs: number | null }
  /** A put that is done only where there is no entry (`If-None-Match: *`). */
  | { readonly kind: "add"; readonly value: string; readonly ttlMs: number | null }
  | { readonly kind: "delete" }
  /** The entry may be gone after it, or stay: a clear, where it reaches only what the cache holds just then. */
  | { readonly kind: "clear" }
  /** `value` null = there was none. */
  | { readonly kind: "get"; readonly value: string | null };

/**
 * - `done`: the client was told so.
 * - `unknown`: it was told nothing, or that it may be done later: from its start on it may happen at any time, or never.
 */
export interface Operation {
  readonly key: string;
  readonly client: string;
  readonly call: Call;
  readonly startMs: number;
  /** Of an unknown outcome, infinite. */
  readonly endMs: number;
  readonly outcome: "done" | "unknown";
}

/** What is stored: null = nothing. */
export interface Stored {
  readonly value: string;
  /** From here on it may have expired, and from there on it must have; null = it never does. */
  readonly expiry: { readonly fromMs: number; readonly untilMs: number } | null;
}

export interface RegisterRules {
  /** Entries may be gone at any time: a cache with nothing behind it. */
  readonly evicts: boolean;
}

export type State = Stored | null;

/** The states that an operation may lead to; none = it is not possible in this state. */
export function step(state: State, { call, startMs, endMs }: Operation, { evicts }: RegisterRules): readonly State[] {
  const mayBeGone = state === null || evicts || (state.expiry !== null && endMs >= state.expiry.fromMs);
  const mayBeThere = state !== null && (state.expiry === null || startMs <= state.expiry.untilMs);
  switch (call.kind) {
    case "put":
      return [storedBy(call.value, call.ttlMs, startMs, endMs)];
    case "add":
      return mayBeGone ? [storedBy(call.value, call.ttlMs, startMs, endMs)] : [];
    case "delete":
      return [null];
    case "clear":
      return state === null ? [null] : [null, state];
    case "get":
      if (call.value === null) return mayBeGone ? [null] : [];
      return mayBeThere && state.value === call.value ? [state] : [];
  }
}

/** What a put leaves that ran from `startMs` to `endMs`. */
export function storedBy(value: string, ttlMs: number | null, startMs: number, endMs: number): Stored {
  const expiry = ttlMs === null ? null : { fromMs: startMs + ttlMs, untilMs: endMs + ttlMs };
  return { value, expiry };
}
