import { ApiError } from "../transport/api-error.ts";
import type { HttpRequest } from "../transport/exchange.ts";
import { shortened } from "./body-members.ts";

/** The query parameters of a request, by name. */
export type Query = ReadonlyMap<string, string>;

const NO_PARAMETERS: Query = new Map();

/**
 * The query parameters of a call. Throws `ApiError` (400) for an unknown parameter, because a misspelt name could store
 * an entry for ever, or for one that can't be decoded.
 */
export function parametersOf(request: HttpRequest, known: readonly string[]): Query {
  if (request.queryStart < 0) return NO_PARAMETERS;
  const query = queryOf(request);
  for (const name of query.keys()) {
    if (known.includes(name)) continue;
    const choice = known.length === 0 ? "none" : `${known.join(", ")}, and nothing else`;
    const message = `the query has ${JSON.stringify(shortened(name))}: this call accepts ${choice}`;
    throw new ApiError(400, "ERR_BAD_QUERY", message);
  }
  return query;
}

/**
 * The query parameters of a request. `+` is a space, the first of repeated names counts, a name alone has the value "".
 * Throws `ApiError` (400) if the percent-encoding is invalid.
 */
function queryOf(request: HttpRequest): Query {
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

/** Whether a parameter is present and not `false`. */
export function isFlagSet(query: Query, name: string): boolean {
  const value = query.get(name);
  return value !== undefined && value !== "false";
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (cause) {
    const message = `the query has ${JSON.stringify(shortened(text))}, which is not percent-encoded UTF-8: encode it again`;
    throw new ApiError(400, "ERR_BAD_QUERY", message, "", { cause });
  }
}
