import { readBody } from "../runtime/read-body.ts";
import type { PeerAddress, PeerRequest, PeerResponse, Transport } from "./transport.ts";

/** Calls peers over persistent HTTP connections. An answer uses no more memory than the request allows. */
export class HttpTransport implements Transport {
  async call(peer: PeerAddress, request: PeerRequest): Promise<PeerResponse> {
    const { method, path, body, signal, limitBytes } = request;
    // The size of a compressed answer is unknown until it is decompressed.
    const headers = { ...request.headers, "accept-encoding": "identity" };
    const init: BunFetchRequestInit = { method, headers, body, signal, redirect: "manual", decompress: false };
    const response = await fetch(peer.url + path, init);
    const coding = response.headers.get("content-encoding") ?? "identity";
    if (coding !== "identity") {
      await response.body?.cancel();
      throw new Error(`the answer is encoded with ${coding}, though the request forbids that`);
    }
    return { status: response.status, body: await readBody(response, limitBytes) };
  }
}
