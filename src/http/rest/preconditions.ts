import type { Condition } from "../../engine/engine.ts";
import { ApiError } from "../transport/api-error.ts";
import { LOW_HALF, RADIX } from "../transport/etag-text.ts";
import type { HttpRequest } from "../transport/exchange.ts";
import { shortened } from "./body-members.ts";

const OWN_TAG = /^"([0-9a-z]{1,6})\.([0-9a-z]{1,6})(?:-raw|-decoded)?"$/;
/** An ETag may contain commas. */
const LIST_ITEM = /(?:"[^"]*"|[^,"]|")+/g;
const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;

/** Whether an `If-None-Match` of a GET matches this ETag (weak comparison, RFC 9110 section 13.1.2). */
export function noneMatchNames(header: string, etag: string): boolean {
  return header.trim() === "*" || listOf(header).some((item) => item === etag || item === `W/${etag}`);
}

/** Whether an `If-Match` of a GET matches this ETag (strong comparison, RFC 9110 section 13.1.1). */
export function matchNames(header: string, etag: string): boolean {
  return header.trim() === "*" || listOf(header).includes(etag);
}

/**
 * The condition in `If-Match` or `If-None-Match` of a mutation, or null. An ETag of any representation of the entry
 * matches. Throws `ApiError` (400) for a malformed list, or both headers at once.
 */
export function conditionOf(request: HttpRequest): Condition | null {
  if (!request.isConditional) return null;
  const match = request.header("if-match");
  const noneMatch = request.header("if-none-match");
  if (match !== null && noneMatch !== null) {
    throw new ApiError(400, "ERR_BAD_CONDITION", "If-Match and If-None-Match came together: send one of them");
  }
  const header = match ?? noneMatch ?? "";
  if (header.trim() === "*") return { kind: match === null ? "absent" : "present" };
  const items = listOf(header);
  if (items.length === 0 || !items.every((item) => ENTITY_TAG.test(item))) {
    const name = match === null ? "If-None-Match" : "If-Match";
    throw new ApiError(
      400,
      "ERR_BAD_CONDITION",
      `${name} is ${JSON.stringify(shortened(header))}: send * or a list of ETags in quotes`,
    );
  }
  // If-Match uses strong comparison: a weak ETag never matches (RFC 9110 section 13.1.1).
  if (match !== null) return { kind: "revision-in", revisions: tagsOf(items) };
  return { kind: "revision-not-in", revisions: tagsOf(items.map((item) => item.replace(/^W\//, ""))) };
}

/**
 * Throws `ApiError` (400) if a call that does not concern exactly one entry has a condition, because ignoring it would
 * be harmful.
 */
export function refuseCondition(request: HttpRequest): void {
  if (!request.isConditional) return;
  const message = "If-Match and If-None-Match concern one entry: omit them here, or change entries one by one";
  throw new ApiError(400, "ERR_BAD_CONDITION", message);
}

function listOf(header: string): string[] {
  return (header.match(LIST_ITEM) ?? []).map((item) => item.trim()).filter((item) => item !== "");
}

function tagsOf(items: readonly string[]): number[] {
  return items.flatMap((item) => {
    const [, high, low] = OWN_TAG.exec(item) ?? [];
    if (high === undefined || low === undefined) return [];
    return [Number.parseInt(high, RADIX) * LOW_HALF + Number.parseInt(low, RADIX)];
  });
}
