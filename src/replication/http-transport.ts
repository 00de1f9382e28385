import type { PeerAddress, PeerRequest, PeerResponse, Transport } from "./transport.ts";
import { MAX_MESSAGE_BYTES } from "./wire/message.ts";

/** Calls peers over HTTP, on connections that are kept. */
export class HttpTransport implements Transport {
  async call(peer: PeerAddress, request: PeerRequest): Promise<PeerResponse> {
    const { method, path, headers, body, signal } = request;
    const response = await fetch(peer.url + path, { method, headers, body, signal, redirect: "manual" });
    const length = Number(response.headers.get("content-length") ?? 0);
    if (length > MAX_MESSAGE_BYTES) {
      await response.body?.cancel();
      throw new Error(`the answer has ${length} bytes, more than ${MAX_MESSAGE_BYTES}`);
    }
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
  }
}
