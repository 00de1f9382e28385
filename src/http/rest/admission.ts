import type { HttpRequest } from "../transport/exchange.ts";
import type { PeerGate } from "./peer-routes.ts";

const REPLICATION = ["/api/replication", "/api/v1/replication"];

/**
 * Whether to read the body of a request. Requests that only peers may send are refused without their body: the handler
 * gets such a request without it, and answers the reason.
 *
 * @param gate null = the node has no peers
 */
export function admitsBody(gate: PeerGate | null): (request: HttpRequest) => boolean {
  return (request) => {
    const { buffer, targetStart, targetEnd, queryStart } = request;
    const path = buffer.latin1Slice(targetStart, queryStart < 0 ? targetEnd : queryStart - 1);
    if (!REPLICATION.includes(path)) return true;
    return gate?.admits(request.header("authorization"), request.remoteAddress) ?? false;
  };
}
