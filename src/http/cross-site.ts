/**
 * What a browser sends on behalf of a page that is not this node's own. A node on loopback has no other guard: every page
 * that its user opens can send requests there (CSRF), or can have its own host name resolve to 127.0.0.1 (DNS rebinding).
 *
 * Browsers name the host that they believe to talk to (`Host`), say how a page relates to it (`Sec-Fetch-Site`), and
 * name the page's origin with all that isn't a plain GET (`Origin`, https://fetch.spec.whatwg.org/#origin-header). A
 * page can set none of the three.
 */

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

/** Whether a request was not meant for a node on loopback, or comes from a page of another origin. */
export function isCrossSite(request: ParsedRequest): boolean {
  const { buffer, headerSpans } = request;
  let hostAt = -1;
  let originAt = -1;
  for (let at = 0; at < request.headerCount * SPAN; at += SPAN) {
    const start = headerSpans[at] ?? 0;
    switch ((headerSpans[at + 1] ?? 0) - start) {
      case "host".length:
        if (equalsIgnoringCase(buffer, start, "host")) hostAt = at;
        break;
      case "origin".length:
        if (!equalsIgnoringCase(buffer, start, "origin")) break;
        if (originAt >= 0) return true;
        originAt = at;
        break;
      case "sec-fetch-site".length:
        if (equalsIgnoringCase(buffer, start, "sec-fetch-site") && !isOwnSite(request, at)) return true;
    }
  }
  if (hostAt < 0) return originAt >= 0;
  return !isLoopbackHost(request, hostAt) || (originAt >= 0 && !isOrigin(request, originAt, hostAt));
}

function isOwnSite(request: ParsedRequest, at: number): boolean {
  return OWN_SITES.includes(valueAt(request, at));
}

function isLoopbackHost(request: ParsedRequest, at: number): boolean {
  for (const name of NAMES) if (isHost(request, at, name)) return true;
  return LOOPBACK_IPV4.test(valueAt(request, at));
}

/** Whether the host is this one, with any port or none. Makes no string: it is asked for every request. */
function isHost({ buffer, headerSpans }: ParsedRequest, at: number, lowerCaseName: string): boolean {
  const start = headerSpans[at + 2] ?? 0;
  const end = headerSpans[at + 3] ?? 0;
  const after = start + lowerCaseName.length;
  return after <= end && (after === end || buffer[after] === COLON) && equalsIgnoringCase(buffer, start, lowerCaseName);
}

/** An origin is a scheme and what the page's own requests have as their host; `null` is that of no page that is ours. */
function isOrigin(request: ParsedRequest, originAt: number, hostAt: number): boolean {
  const origin = valueAt(request, originAt).toLowerCase();
  const host = valueAt(request, hostAt).toLowerCase();
  return SCHEMES.some((scheme) => origin === scheme + host);
}

function valueAt({ buffer, headerSpans }: ParsedRequest, at: number): string {
  return buffer.latin1Slice(headerSpans[at + 2] ?? 0, headerSpans[at + 3] ?? 0);
}
