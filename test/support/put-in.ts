import type { Cache } from "../../src/cache/cache.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import { FROM_CLIENT, type MutationContext } from "../../src/cache/pipeline.ts";
import type { Condition, PutOutcome } from "../../src/engine/engine.ts";
import { asAwaitable } from "../../src/model/completion.ts";
import type { Key } from "../../src/model/key.ts";
import type { Awaitable } from "../../src/runtime/awaitable.ts";

/** Puts, and gives the outcome: at once where the cache does, else as a promise. */
export function putIn(
  cache: Pick<Cache, "put">,
  key: Key,
  value: NewValue,
  ttlMs: number,
  condition: Condition | null,
  context: MutationContext = FROM_CLIENT,
): Awaitable<PutOutcome> {
  return asAwaitable((told) => cache.put(key, value, ttlMs, condition, context, told));
}
