import type { PeerResponse, UpstreamAdmin } from "../../cache/upstream.ts";
import { ApiError } from "../transport/api-error.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import { NO_STORE } from "../transport/json-answer.ts";

/** Tells peers from others. */
export interface PeerGate {
  /** `authorization`: the header as it came; null = none. */
  admits(authorization: string | null, remoteAddress: string): boolean;
}

/** What nodes say to each other. */
export class PeerRoutes {
  constructor(private readonly options: { readonly upstream: UpstreamAdmin | null }) {}

  /** `POST /api/replication`, the link between nodes of this kind; a node without peers has no such path. */
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

/** What the receiver says in `{"error", "code"}`, in the form of all errors. */
function refusalIn({ status, body }: PeerResponse): ApiError {
  const { error, code } = JSON.parse(body.toString());
  return new ApiError(status, code, error, status === 503 ? "Retry-After: 1\r\n" : "");
}

/** Throws `ApiError` where a mutation claims to come from a peer and does not. */
export function requirePeer(request: HttpRequest, gate: PeerGate | null): void {
  if (gate === null || gate.admits(request.header("authorization"), request.remoteAddress)) return;
  const message = "replicated=true is for the nodes of SERV_CACHE_PEERS alone: leave it out, or send the peer token";
  throw new ApiError(403, "ERR_NOT_A_PEER", message);
}
