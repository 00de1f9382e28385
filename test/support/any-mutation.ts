/** Mutations of every kind, for properties. */
import fc from "fast-check";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";

/** Any text that UTF-8 can hold: no lone surrogates. */
const texts = (maxBytes: number) =>
  fc.string({ unit: "binary", minLength: 1, maxLength: maxBytes / 4 }).filter((made) => made.isWellFormed());
export const anyKey = texts(1024);
export const anyStamp = fc.record({
  version: fc.maxSafeNat().map(toVersion),
  nodeId: fc.nat(0xffff_ffff),
});
const value = fc.record({
  bytes: fc.uint8Array({ maxLength: 5_000 }).map((bytes) => Buffer.from(bytes)),
  contentType: fc.oneof(
    fc.constantFrom(JSON_CONTENT_TYPE, "text/plain", "x".repeat(255)),
    fc.stringMatching(/^[ -~]+$/),
  ),
});
const expiresAtMs = fc.oneof(fc.constant(NEVER), fc.maxSafeNat());

export const anyMutation: fc.Arbitrary<Mutation> = fc
  .tuple(
    fc.oneof(
      fc.record({ kind: fc.constant("put" as const), key: anyKey, value, expiresAtMs, stamp: anyStamp }),
      fc.record({
        ...{ kind: fc.constant("touch" as const), key: anyKey, value, expiresAtMs, stamp: anyStamp, touch: anyStamp },
      }),
      fc.record({ kind: fc.constantFrom("delete" as const, "outdated" as const), key: anyKey, stamp: anyStamp }),
      fc.record({ kind: fc.constant("invalidate" as const), pattern: fc.option(texts(1024)), stamp: anyStamp }),
    ),
    fc.option(fc.stringMatching(/^[0-9a-f-]{1,55}$/), { nil: undefined }),
  )
  .map(([mutation, traceContext]) => ({ ...mutation, traceContext }));
