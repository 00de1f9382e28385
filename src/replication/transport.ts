/** How a node reaches its peers: HTTP in the node, a model of a network in the simulator. */
export interface PeerRequest {
  readonly method: "POST" | "PUT" | "DELETE";
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly signal: AbortSignal;
  /** An answer with a larger body is an error. */
  readonly limitBytes: number;
  /** W3C trace contexts of the mutations in it. */
  readonly traceparents?: readonly (string | undefined)[];
}

export interface PeerResponse {
  readonly status: number;
  readonly body: Buffer;
}

export interface Transport {
  /** Rejects where there is no answer. */
  call(peer: PeerAddress, request: PeerRequest): Promise<PeerResponse>;
}

export interface PeerAddress {
  /** As it is configured, without a slash at the end. */
  readonly url: string;
}
