import { ApiError } from "../transport/api-error.ts";

/**
 * Refuses tags, which a later version will support: silently dropping them would be wrong. Throws `ApiError` (400)
 * unless there are none: absent (null), or the JSON `null` or `[]`.
 */
export function refuseTags(tags: string | null): void {
  if (tags === null || tags === "null" || /^\[\s*\]$/.test(tags)) return;
  throw new ApiError(
    400,
    "ERR_TAGS_UNSUPPORTED",
    "this version does not support tags: omit them, or delete by pattern",
  );
}
