/** Trace contexts in SQL, as sqlcommenter writes them: a comment such as `traceparent='00-…-01'`. */
import { spanIdsOf, traceHeaders } from "../../telemetry/trace/trace-context.ts";

/** Empty where the context is not sampled: a text that is new each time is not prepared by the database. */
export function commentOf(carrier: string | undefined): string {
  if (carrier === undefined || spanIdsOf(carrier)?.isSampled !== true) return "";
  const { traceparent = "", tracestate = "" } = traceHeaders(carrier);
  const pairs = [`traceparent='${encoded(traceparent)}'`];
  if (tracestate !== "") pairs.push(`tracestate='${encoded(tracestate)}'`);
  return `/*${pairs.join(",")}*/`;
}

/** The text with the comment at its end, before a semicolon. */
export function withComment(text: string, comment: string): string {
  if (comment === "") return text;
  // On a line of its own: the text may end in a comment to the end of the line.
  return `${text.replace(/;\s*$/, "")}\n${comment}`;
}

/** Percent-encoded, also what would end the text or the comment. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
