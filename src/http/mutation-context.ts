import { FROM_CLIENT, type MutationContext } from "../cache/cache.ts";
import type { HttpRequest } from "./exchange.ts";
import { type PeerGate, requirePeer } from "./peer-routes.ts";
import { isFlagSet, queryOf } from "./query.ts";

const FROM_PEER: MutationContext = { isReplicated: true };

/**
 * `replicated=true` says that a peer of the original's kind sent the mutation on. Throws `ApiError` for a bad
 * query, and where it comes from nobody of the peers.
 */
export function contextOf(request: HttpRequest, gate: PeerGate | null): MutationContext {
  if (request.queryStart < 0 || !isFlagSet(queryOf(request), "replicated")) return FROM_CLIENT;
  requirePeer(request, gate);
  return FROM_PEER;
}
