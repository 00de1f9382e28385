import type { HttpRequest } from "../transport/exchange.ts";
import type { PeerGate } from "./peer-routes.ts";

const REPLICATION = ["/api/replication", "/api/v1/replication"];

/**
 * Whether the body of a request is to be read. What peers alone may send is refused without it: the handler gets such a
 * request with no body, and says why.
 *
 * @param gate null = there are no peers
 */
export function admitsBody(gate: PeerGate | null): (request: HttpRequest) => boolean {
  return (request) => {
    const { buffer, targetStart, targetEnd, queryStart } = request;
    const path = buffer.latin1Slice(targetStart, queryStart < 0 ? targetEnd : queryStart - 1);
    if (!REPLICATION.includes(path)) return true;
    return gate?.admits(request.header("authorization"), request.remoteAddress) ?? false;
  };
}
