/** What the original product sends to its peers, byte for byte, to compare with. */

/** As a client in Go sends it. */
export function headOfPost(path: string, bodyBytes: number): string {
  return [
    `POST ${path} HTTP/1.1`,
    "Host: 10.0.0.2:8088",
    "User-Agent: Go-http-client/1.1",
    `Content-Length: ${bodyBytes}`,
    "Content-Type: application/json",
    "Accept-Encoding: gzip",
    "",
    "",
  ].join("\r\n");
}

/** A put as a whole. */
export function callOfOriginal(key: string, valueJson: Buffer | string): string {
  const body = `{"key":${JSON.stringify(key)},"value":${valueJson},"ttl":"59.5s"}`;
  return headOfPost("/api/cache?replicated=true", body.length) + body;
}
