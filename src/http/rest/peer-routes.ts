import type { OperatorPort, PeerResponse } from "../../cache/operator-port.ts";
import { ApiError } from "../transport/api-error.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import { NO_STORE } from "../transport/json-answer.ts";

/** Authenticates peers. */
export interface PeerGate {
  /** `authorization`: the raw header; null = none. */
  admits(authorization: string | null, remoteAddress: string): boolean;
}

/** The routes between nodes. */
export class PeerRoutes {
  constructor(private readonly options: { readonly upstream: OperatorPort | null }) {}

  /** `POST /api/replication`, the native protocol between nodes; a node without peers answers 404. */
  async replicate(request: HttpRequest, response: HttpResponse): Promise<void> {
    const { body, bodyStart, bodyEnd, remoteAddress } = request;
    const answer = await this.options.upstream?.replicate({
      body: body.subarray(bodyStart, bodyEnd),
      authorization: request.header("authorization"),
      remoteAddress,
    });
    if (answer === undefined || answer === null) {
      throw new ApiError(404, "ERR_NO_PEERS", "this node has no peers: set SERV_CACHE_PEERS, or send elsewhere");
    }
    const { status, mediaType, body: bytes } = answer;
    if (status !== 200) throw refusalIn(answer);
    response.sendBytes(status, `Content-Type: ${mediaType}\r\n${NO_STORE}`, bytes, 0, bytes.length);
  }
}

/** Converts the receiver's `{"error", "code"}` to an API error. */
function refusalIn({ status, body }: PeerResponse): ApiError {
  const { error, code } = JSON.parse(body.toString());
  return new ApiError(status, code, error, status === 503 ? "Retry-After: 1\r\n" : "");
}

/** Throws `ApiError` if a mutation claims without right to come from a peer. */
export function requirePeer(request: HttpRequest, gate: PeerGate | null): void {
  if (gate === null || gate.admits(request.header("authorization"), request.remoteAddress)) return;
  const message = "replicated=true is only for the nodes of SERV_CACHE_PEERS: omit it, or send the peer token";
  throw new ApiError(403, "ERR_NOT_A_PEER", message);
}
