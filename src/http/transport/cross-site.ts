/**
 * Detects requests that a browser sends on behalf of a page of another site. A node on loopback has no other
 * protection: every page that its user opens can send requests to it (CSRF), or let its own host name resolve to
 * 127.0.0.1 (DNS rebinding).
 *
 * Browsers send the host that they believe to talk to (`Host`), the relation of the page to it (`Sec-Fetch-Site`), and,
 * with everything but a plain GET, the page's origin (`Origin`, https://fetch.spec.whatwg.org/#origin-header). A page
 * can set none of the three.
 */

import { BYTE_CLASS, DIGIT } from "./byte-class.ts";
import type { Refusal } from "./refusal.ts";
import { equalsIgnoringCase, type ParsedRequest, SPAN } from "./request.ts";

export const CROSS_SITE: Refusal = {
  status: 403,
  code: "ERR_CROSS_SITE",
  message:
    "call this node by localhost, 127.0.0.1 or [::1], and not from a page of another site; to let others in, start it with --addr",
};

const NAMES: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];
const COLON = 0x3a;
const LOOPBACK_IPV4 = /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}(:\d*)?$/;
const OWN_SITES: readonly string[] = ["same-origin", "none"];
const SCHEMES: readonly string[] = ["http://", "https://"];

/** Whether a request is not meant for a node on loopback, or comes from a page of another origin. */
export function isCrossSite(request: ParsedRequest): boolean {
  const { buffer, headerSpans, hostAt } = request;
  let originAt = -1;
  if (request.mayHave("origin") || request.mayHave("sec-fetch-site")) {
    for (let at = 0; at < request.headerCount * SPAN; at += SPAN) {
      const start = headerSpans[at] ?? 0;
      const length = (headerSpans[at + 1] ?? 0) - start;
      if (length === "origin".length && equalsIgnoringCase(buffer, start, "origin")) {
        if (originAt >= 0) return true;
        originAt = at;
      } else if (length === "sec-fetch-site".length && equalsIgnoringCase(buffer, start, "sec-fetch-site")) {
        if (!isOwnSite(request, at)) return true;
      }
    }
  }
  const { authorityStart, authorityEnd } = request;
  // Only HTTP/1.0 requests lack it; their target may still name a host.
  if (hostAt < 0) return originAt >= 0 || (authorityEnd > 0 && !isLoopbackHost(buffer, authorityStart, authorityEnd));
  return (
    !isLoopbackHost(buffer, headerSpans[hostAt + 2] ?? 0, headerSpans[hostAt + 3] ?? 0) ||
    (originAt >= 0 && !isOrigin(request, originAt, hostAt))
  );
}

function isOwnSite(request: ParsedRequest, at: number): boolean {
  return OWN_SITES.includes(valueAt(request, at));
}

function isLoopbackHost(buffer: Buffer, start: number, end: number): boolean {
  for (const name of NAMES) if (isHost(buffer, start, end, name)) return true;
  return LOOPBACK_IPV4.test(buffer.latin1Slice(start, end));
}

/** Whether the host is this name, with any port or none. Called for every request, so it allocates no string. */
function isHost(buffer: Buffer, start: number, end: number, lowerCaseName: string): boolean {
  const after = start + lowerCaseName.length;
  if (after > end || !equalsIgnoringCase(buffer, start, lowerCaseName)) return false;
  if (after < end && buffer[after] !== COLON) return false;
  for (let at = after + 1; at < end; at++) if (((BYTE_CLASS[buffer[at] ?? 0] ?? 0) & DIGIT) === 0) return false;
  return true;
}

/** Whether the origin is a scheme plus the host of the page's own requests; `null` is never the origin of our pages. */
function isOrigin(request: ParsedRequest, originAt: number, hostAt: number): boolean {
  const origin = valueAt(request, originAt).toLowerCase();
  const host = valueAt(request, hostAt).toLowerCase();
  return SCHEMES.some((scheme) => origin === scheme + host);
}

function valueAt({ buffer, headerSpans }: ParsedRequest, at: number): string {
  return buffer.latin1Slice(headerSpans[at + 2] ?? 0, headerSpans[at + 3] ?? 0);
}
