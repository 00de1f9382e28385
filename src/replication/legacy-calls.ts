/**
 * The original product's form: the plain calls of the REST API with `replicated=true`, one per mutation, several at a
 * time. Such a peer stamps what it gets on arrival, so nothing can be said about what is older than a stamp: where a value
 * is missing or can't be told in JSON, the key is deleted there.
 *
 * Nor can it tell which of two calls is the newer one, so they go in the order of their stamps where that matters: nothing
 * goes along with a delete by pattern, and a put that one has overtaken goes as a delete.
 */

import { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../model/entry.ts";
import { isNewer } from "../model/stamp.ts";
import type { OutboxEntry } from "../outbox/entry.ts";
import { keyOf } from "./applier.ts";
import { type Caller, PeerCallError } from "./peer-caller.ts";
import { peerMutationOf } from "./peer-rows.ts";
import type { PeerRequest } from "./transport.ts";
import type { PeerMutation, PeerPut } from "./wire/peer-mutation.ts";

const CONCURRENCY = 64;
const DELETE_EVERYTHING = "*";
/** About the call itself: it would be answered so again. */
const REFUSALS: ReadonlySet<number> = new Set([400, 413, 414, 415, 422, 431]);

export interface LegacyOutcome {
  readonly done: readonly OutboxEntry[];
  readonly left: readonly OutboxEntry[];
  /** What the peer does not take, and why; all else may go on. */
  readonly refused: readonly { readonly entry: OutboxEntry; readonly reason: string }[];
  readonly bytes: number;
  /** Why some are left; null = none is. */
  readonly error: unknown;
}

type Request = Omit<PeerRequest, "signal" | "limitBytes">;

export class LegacyCalls {
  readonly #sent = RecentInvalidations.create();

  constructor(
    private readonly caller: Caller,
    private readonly nowMs: () => number,
  ) {}

  /** One batch at a time: the order between two of them matters, too. */
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
      const mutation = this.#asOfNow(peerMutationOf(entry, this.nowMs()));
      const request = requestOf(mutation, this.nowMs());
      try {
        await this.caller.plain({ ...request, traceparents: [entry.traceContext] }, signal);
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

  /** A put that waited behind a delete by pattern must not bring back what that has removed. */
  #asOfNow(mutation: PeerMutation): PeerMutation {
    if (mutation.kind === "invalidate") this.#sent.add(mutation.pattern, mutation.stamp);
    if (mutation.kind !== "put" || this.#sent.covering(keyOf(mutation.key), mutation.stamp) === null) return mutation;
    return { kind: "delete", key: mutation.key, stamp: mutation.stamp };
  }

  /** What the peer refuses for good (too large for it, say) would be refused again: it must not keep the old value. */
  async #isDropped(mutation: PeerMutation, signal: AbortSignal): Promise<boolean> {
    try {
      if (mutation.kind === "put") await this.caller.plain(deletion(mutation.key), signal);
      else if (mutation.kind === "invalidate") await this.caller.plain(deletionOf(DELETE_EVERYTHING), signal);
      else return false;
      return true;
    } catch {
      return false;
    }
  }
}

/** What may go at the same time, in the order of the stamps: a delete by pattern goes alone. */
function stagesOf(batch: readonly OutboxEntry[]): OutboxEntry[][] {
  const stages: OutboxEntry[][] = [];
  let isOpen = false;
  for (const entry of batch.toSorted((a, b) => (isNewer(a.stamp, b.stamp) ? 1 : -1))) {
    const isAlone = peerMutationOf(entry, 0).kind === "invalidate";
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

function requestOf(mutation: PeerMutation, nowMs: number): Request {
  if (mutation.kind === "invalidate") {
    return deletionOf(mutation.pattern ?? DELETE_EVERYTHING);
  }
  if (mutation.kind !== "put" || mutation.contentType !== JSON_CONTENT_TYPE) return deletion(mutation.key);
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
 * The original takes one segment of the decoded path: `a%2Fb` is `a` there. What is no segment of its own goes as a pattern
 * that only this key matches.
 */
function deletion(key: string): Request {
  if (/[/\\]|^\.{0,2}$/.test(key)) return deletionOf(key.replace(/[*?[\]\\]/g, "\\$&"));
  const path = `/api/cache/${encodeURIComponent(key)}?replicated=true`;
  return { method: "DELETE", path, headers: {}, body: null };
}

/** The value digit for digit as it was sent; the TTL as a Go duration. */
function bodyOf({ key, value, expiresAtMs }: PeerPut, nowMs: number): Buffer {
  const ttl = expiresAtMs === NEVER ? "" : `,"ttl":"${Math.max(1, Math.ceil(expiresAtMs - nowMs))}ms"`;
  return Buffer.concat([Buffer.from(`{"key":${JSON.stringify(key)},"value":`), value, Buffer.from(`${ttl}}`)]);
}
