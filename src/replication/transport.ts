/** The way from a node to its peers: HTTP in the node, a modelled network in the simulator. */
export interface PeerRequest {
  readonly method: "POST" | "PUT" | "DELETE";
  /** Including the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly signal: AbortSignal;
  /** A larger body is an error. */
  readonly limitBytes: number;
  /** W3C trace contexts of the mutations in the message. */
  readonly traceparents?: readonly (string | undefined)[];
}

export interface PeerResponse {
  readonly status: number;
  readonly body: Buffer;
}

export interface Transport {
  /** Rejects if there is no answer. */
  call(peer: PeerAddress, request: PeerRequest): Promise<PeerResponse>;
}

export interface PeerAddress {
  /** As configured, without a trailing slash. */
  readonly url: string;
}
