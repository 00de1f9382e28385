import { ApiError } from "./api-error.ts";
import { shortened } from "./body-members.ts";
import type { HttpRequest } from "./exchange.ts";

const NO_PARAMETERS: ReadonlyMap<string, string> = new Map();

/**
 * The parameters of a request's query. `+` is a space, the first of repeated names wins, a name alone has the value "".
 * Throws `ApiError` (400) where percent-encoding can't be decoded.
 */
export function queryOf(request: HttpRequest): ReadonlyMap<string, string> {
  if (request.queryStart < 0) return NO_PARAMETERS;
  const text = request.buffer.latin1Slice(request.queryStart, request.targetEnd);
  const parameters = new Map<string, string>();
  for (const part of text.split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = decoded(equals < 0 ? part : part.slice(0, equals));
    if (!parameters.has(name)) parameters.set(name, equals < 0 ? "" : decoded(part.slice(equals + 1)));
  }
  return parameters;
}

/** A parameter that is there and doesn't say `false`. */
export function isFlagSet(query: ReadonlyMap<string, string>, name: string): boolean {
  const value = query.get(name);
  return value !== undefined && value !== "false";
}

/**
 * Throws `ApiError` (400) where there is another parameter than the known ones: for calls on which a misspelt name
 * would change more than was meant.
 */
export function refuseUnknown(query: ReadonlyMap<string, string>, known: readonly string[]): void {
  for (const name of query.keys()) {
    if (known.includes(name)) continue;
    const message = `the query has ${JSON.stringify(shortened(name))}: this call knows ${known.join(", ")}, nothing else`;
    throw new ApiError(400, "ERR_BAD_QUERY", message);
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (cause) {
    const message = `the query has ${JSON.stringify(shortened(text))}, which is not percent-encoded UTF-8: encode it again`;
    throw new ApiError(400, "ERR_BAD_QUERY", message, "", { cause });
  }
}
