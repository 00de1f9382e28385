import { FROM_CLIENT, type MutationContext } from "../cache/cache.ts";
import type { HttpRequest } from "./exchange.ts";
import { isFlagSet, queryOf } from "./query.ts";

const FROM_PEER: MutationContext = { isReplicated: true };

/** `replicated=true` says that a peer of the original's kind sent the mutation on. Throws `ApiError` for a bad query. */
export function contextOf(request: HttpRequest): MutationContext {
  if (request.queryStart < 0) return FROM_CLIENT;
  return isFlagSet(queryOf(request), "replicated") ? FROM_PEER : FROM_CLIENT;
}
