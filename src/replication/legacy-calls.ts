/**
 * The original product's form: the plain calls of the REST API with `replicated=true`, one per mutation, several at a
 * time. Such a peer stamps what it gets on arrival, so nothing can be said about what is older than a stamp: where a value
 * is missing or can't be told in JSON, the key is deleted there.
 */
import { JSON_CONTENT_TYPE, NEVER } from "../engine/engine.ts";
import type { OutboxEntry } from "../outbox/entry.ts";
import { type Caller, PeerCallError } from "./peer-caller.ts";
import { peerMutationOf } from "./peer-rows.ts";
import type { PeerRequest } from "./transport.ts";
import type { PeerMutation, PeerPut } from "./wire/peer-mutation.ts";

const CONCURRENCY = 16;
const DELETE_EVERYTHING = "*";

export interface LegacyOutcome {
  readonly done: readonly OutboxEntry[];
  readonly left: readonly OutboxEntry[];
  readonly bytes: number;
  /** Why some are left; null = none is. */
  readonly error: unknown;
}

export class LegacyCalls {
  constructor(
    private readonly caller: Caller,
    private readonly nowMs: () => number,
  ) {}

  async send(batch: readonly OutboxEntry[], signal: AbortSignal): Promise<LegacyOutcome> {
    const done: OutboxEntry[] = [];
    const left: OutboxEntry[] = [];
    let bytes = 0;
    let error: unknown = null;
    let next = 0;
    const work = async () => {
      for (let entry = batch[next++]; entry !== undefined; entry = batch[next++]) {
        if (error !== null) {
          left.push(entry);
          continue;
        }
        const request = requestOf(peerMutationOf(entry, this.nowMs()), this.nowMs());
        try {
          await this.caller.plain({ ...request, traceparents: [entry.traceparent] }, signal);
          bytes += request.path.length + (request.body?.length ?? 0);
          done.push(entry);
        } catch (cause) {
          // What the peer refuses for good (too large for it, say) would be refused again: it must not keep the old value.
          if (isRefusal(cause) && entry.kind === "put" && (await this.#isDeleted(entry.key, signal))) {
            done.push(entry);
            continue;
          }
          error ??= cause;
          left.push(entry);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, batch.length) }, work));
    return { done, left, bytes, error };
  }

  async #isDeleted(key: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.caller.plain(deletion(key), signal);
      return true;
    } catch {
      return false;
    }
  }
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof PeerCallError)) return false;
  return error.status >= 400 && error.status < 500 && error.status !== 404 && error.status !== 429;
}

function requestOf(mutation: PeerMutation, nowMs: number): Omit<PeerRequest, "signal"> {
  if (mutation.kind === "invalidate") {
    const pattern = encodeURIComponent(mutation.pattern ?? DELETE_EVERYTHING);
    return { method: "DELETE", path: `/api/cache?pattern=${pattern}&replicated=true`, headers: {}, body: null };
  }
  if (mutation.kind !== "put" || mutation.contentType !== JSON_CONTENT_TYPE) return deletion(mutation.key);
  return {
    method: "POST",
    path: "/api/cache?replicated=true",
    headers: { "content-type": JSON_CONTENT_TYPE },
    body: bodyOf(mutation, nowMs),
  };
}

function deletion(key: string): Omit<PeerRequest, "signal"> {
  const path = `/api/cache/${encodeURIComponent(key)}?replicated=true`;
  return { method: "DELETE", path, headers: {}, body: null };
}

/** The value digit for digit as it was sent; the TTL as a Go duration. */
function bodyOf({ key, value, expiresAtMs }: PeerPut, nowMs: number): Buffer {
  const ttl = expiresAtMs === NEVER ? "" : `,"ttl":"${Math.max(1, Math.ceil(expiresAtMs - nowMs))}ms"`;
  return Buffer.concat([Buffer.from(`{"key":${JSON.stringify(key)},"value":`), value, Buffer.from(`${ttl}}`)]);
}
