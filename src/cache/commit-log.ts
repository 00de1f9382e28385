/** The port to what makes mutations durable for everyone who must get them: the database, the peers. */

import { asAwaitable, type Completion } from "../model/completion.ts";
import type { Mutation } from "../model/mutation.ts";

/**
 * A node with nothing behind its cache has none (null). Elsewhere it lives once, in the main thread: a node of one thread
 * calls it, an HTTP thread sends it one message per turn of the event loop.
 */
export interface CommitLog {
  /**
   * Makes a mutation durable; the client may be answered then. True = there is nothing to wait for, and the completion is
   * not told. Fails with `UpstreamError`; then the mutation is kept nowhere, unless the error says so.
   */
  commit(mutation: Mutation, completion: Completion<void>): boolean;
}

/** What the caches of a node need to know of what is behind them. */
export interface LinkTraits {
  /** Deletes reach the backend, too. */
  readonly deletes: boolean;
  /** How long a delete has to be remembered against older puts that may still come, in ms. */
  readonly tombstoneMs: number;
  /** An entry that is read with less than this left of its life is to be reloaded, in ms; 0 = none is. */
  readonly refreshAheadMs: number;
}

/** By a promise, where many commits are not under way at a time. */
export async function committed(log: Pick<CommitLog, "commit">, mutation: Mutation): Promise<void> {
  await asAwaitable<void>((completion) => (log.commit(mutation, completion) ? undefined : null));
}
