/** Why no answer came over HTTP, in our words: the client's own texts hold the address, and advice for its programmers. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody listens there",
  ConnectionRefused: "nobody listens there",
  ENOTFOUND: "its name can't be resolved",
  ECONNRESET: "the connection was closed before the answer was whole",
  ConnectionClosed: "the connection was closed before the answer was whole",
  ETIMEDOUT: "the connection could not be opened in time",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself; set SERV_CACHE_BACKEND_CA",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is signed by an unknown authority; set SERV_CACHE_BACKEND_CA",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is signed by an unknown authority; set SERV_CACHE_BACKEND_CA",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
};

export function connectionFailure(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : null;
  if (typeof code !== "string") return "the request failed";
  return REASONS[code] ?? `the request failed (${code})`;
}
