import { readBody } from "../runtime/read-body.ts";
import type { PeerAddress, PeerRequest, PeerResponse, Transport } from "./transport.ts";
import { MAX_MESSAGE_BYTES } from "./wire/message.ts";

/** Calls peers over HTTP, on connections that are kept. */
export class HttpTransport implements Transport {
  async call(peer: PeerAddress, request: PeerRequest): Promise<PeerResponse> {
    const { method, path, headers, body, signal } = request;
    // A peer compresses nothing: what comes compressed may be anything in the end.
    const init: BunFetchRequestInit = { method, headers, body, signal, redirect: "manual", decompress: false };
    const response = await fetch(peer.url + path, init);
    return { status: response.status, body: await readBody(response, MAX_MESSAGE_BYTES) };
  }
}
