/**
 * The protocol of the original ServCache (Go): the plain calls of the REST API with `replicated=true`, one per
 * mutation, several at a time. Such a peer stamps a mutation on arrival, so it cannot be told what is older than a
 * stamp: a mutation without a value, or with a value other than JSON, is sent as a delete.
 *
 * It cannot tell which of two calls is newer either, so calls are sent in the order of their stamps if that matters:
 * nothing is sent at the same time as a delete by pattern, and a put that such a delete has overtaken is sent as a
 * delete.
 */

import { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../model/entry.ts";
import { keyOf } from "../model/key.ts";
import { EVERYTHING } from "../model/matcher.ts";
import { asOf, hasValue, type Mutation, type ValueMutation } from "../model/mutation.ts";
import { isNewer } from "../model/stamp.ts";
import type { OutboxEntry } from "../outbox/entry.ts";
import { type Caller, PeerCallError } from "./peer-caller.ts";
import type { PeerRequest } from "./transport.ts";

const CONCURRENCY = 64;
/** Statuses that concern the call itself: repeating it would give the same answer. */
const REFUSALS: ReadonlySet<number> = new Set([400, 413, 414, 415, 422, 431]);

export interface LegacyOutcome {
  readonly done: readonly OutboxEntry[];
  readonly left: readonly OutboxEntry[];
  /** The entries that the peer refuses, with the reason; all others may continue. */
  readonly refused: readonly { readonly entry: OutboxEntry; readonly reason: string }[];
  readonly bytes: number;
  /** Why some entries are left; null = none is left. */
  readonly error: unknown;
}

type Request = Omit<PeerRequest, "signal" | "limitBytes">;

export class LegacyCalls {
  readonly #sent = RecentInvalidations.create();

  constructor(
    private readonly caller: Caller,
    private readonly nowMs: () => number,
  ) {}

  /** One batch at a time, because the order between two batches matters, too. */
  async send(batch: readonly OutboxEntry[], signal: AbortSignal): Promise<LegacyOutcome> {
    const done: OutboxEntry[] = [];
    const left: OutboxEntry[] = [];
    const refused: { entry: OutboxEntry; reason: string }[] = [];
    let bytes = 0;
    let error: unknown = null;
    const sendOne = async (entry: OutboxEntry) => {
      if (error !== null) {
        left.push(entry);
        return;
      }
      const mutation = this.#asOfNow(asOf(entry.mutation, this.nowMs()));
      const request = requestOf(mutation, this.nowMs());
      try {
        await this.caller.plain({ ...request, traceparents: [entry.mutation.traceContext] }, signal);
        bytes += request.path.length + (request.body?.length ?? 0);
        done.push(entry);
      } catch (cause) {
        if (!isRefusal(cause)) {
          error ??= cause;
          left.push(entry);
        } else if (await this.#isDropped(mutation, signal)) done.push(entry);
        else refused.push({ entry, reason: cause.message });
      }
    };
    for (const together of stagesOf(batch)) {
      let next = 0;
      const work = async () => {
        for (let entry = together[next++]; entry !== undefined; entry = together[next++]) await sendOne(entry);
      };
      await Promise.all(Array.from({ length: Math.min(CONCURRENCY, together.length) }, work));
    }
    return { done, left, refused, bytes, error };
  }

  /** A put that waited behind a delete by pattern must not bring back a deleted value. */
  #asOfNow(mutation: Mutation): Mutation {
    if (mutation.kind === "invalidate") this.#sent.add(mutation.pattern, mutation.stamp);
    if (!hasValue(mutation) || this.#sent.covering(keyOf(mutation.key), mutation.stamp) === null) return mutation;
    return { kind: "delete", key: mutation.key, stamp: mutation.stamp };
  }

  /**
   * A put that the peer refuses permanently (such as a too large one) is replaced by a delete, so that it does not keep
   * the old value.
   */
  async #isDropped(mutation: Mutation, signal: AbortSignal): Promise<boolean> {
    try {
      if (hasValue(mutation)) await this.caller.plain(deletion(mutation.key), signal);
      else if (mutation.kind === "invalidate") await this.caller.plain(deletionOf(EVERYTHING.text), signal);
      else return false;
      return true;
    } catch {
      return false;
    }
  }
}

/** The groups that may be sent concurrently, in the order of the stamps: a delete by pattern is a group of its own. */
function stagesOf(batch: readonly OutboxEntry[]): OutboxEntry[][] {
  const stages: OutboxEntry[][] = [];
  let isOpen = false;
  for (const entry of batch.toSorted((a, b) => (isNewer(a.mutation.stamp, b.mutation.stamp) ? 1 : -1))) {
    const isAlone = entry.mutation.kind === "invalidate";
    const last = stages.at(-1);
    if (last !== undefined && isOpen && !isAlone) last.push(entry);
    else stages.push([entry]);
    isOpen = !isAlone;
  }
  return stages;
}

function isRefusal(error: unknown): error is PeerCallError {
  if (!(error instanceof PeerCallError)) return false;
  return REFUSALS.has(error.status);
}

function requestOf(mutation: Mutation, nowMs: number): Request {
  if (mutation.kind === "invalidate") {
    return deletionOf(mutation.pattern ?? EVERYTHING.text);
  }
  if (!hasValue(mutation) || mutation.value.contentType !== JSON_CONTENT_TYPE) return deletion(mutation.key);
  return {
    method: "POST",
    path: "/api/cache?replicated=true",
    headers: { "content-type": JSON_CONTENT_TYPE },
    body: bodyOf(mutation, nowMs),
  };
}

function deletionOf(pattern: string): Request {
  const path = `/api/cache?pattern=${encodeURIComponent(pattern)}&replicated=true`;
  return { method: "DELETE", path, headers: {}, body: null };
}

/**
 * The original uses one segment of the decoded path: `a%2Fb` is `a` there. Other keys are deleted by a pattern that
 * matches only this key.
 */
function deletion(key: string): Request {
  if (/[/\\]|^\.{0,2}$/.test(key)) return deletionOf(key.replace(/[*?[\]\\]/g, "\\$&"));
  const path = `/api/cache/${encodeURIComponent(key)}?replicated=true`;
  return { method: "DELETE", path, headers: {}, body: null };
}

/** The value digit for digit as it was sent; the TTL as a Go duration. */
function bodyOf({ key, value, expiresAtMs }: ValueMutation, nowMs: number): Buffer {
  const ttl = expiresAtMs === NEVER ? "" : `,"ttl":"${Math.max(1, Math.ceil(expiresAtMs - nowMs))}ms"`;
  return Buffer.concat([Buffer.from(`{"key":${JSON.stringify(key)},"value":`), value.bytes, Buffer.from(`${ttl}}`)]);
}
