import { FROM_CLIENT, type MutationContext } from "../cache/cache.ts";
import { invalid } from "./api-error.ts";
import { shortened } from "./body-members.ts";
import type { HttpRequest } from "./exchange.ts";
import { type PeerGate, requirePeer } from "./peer-routes.ts";
import { queryOf } from "./query.ts";

const FROM_PEER: MutationContext = { isReplicated: true };

/**
 * `replicated=true` says that a peer of the original's kind sent the mutation on. Throws `ApiError` for a bad query:
 * also where the value is unclear, because a client's mutation that is taken for a peer's reaches no database; and where
 * it comes from nobody of the peers.
 */
export function contextOf(request: HttpRequest, gate: PeerGate | null): MutationContext {
  if (request.queryStart < 0) return FROM_CLIENT;
  const value = queryOf(request).get("replicated");
  if (value === undefined || value === "false" || value === "0") return FROM_CLIENT;
  if (value === "true" || value === "1" || value === "") {
    requirePeer(request, gate);
    return FROM_PEER;
  }
  throw invalid("ERR_BAD_QUERY", `replicated is ${JSON.stringify(shortened(value))}: send true, or leave it out`);
}
