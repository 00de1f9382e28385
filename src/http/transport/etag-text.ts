/** Formats the revision of an entry as an ETag. */
import type { Representation } from "./exchange.ts";

/** A revision has 53 bits; it is written in two halves, because integer arithmetic ends at 31 bits. */
export const LOW_HALF = 2 ** 26;

export const RADIX = 36;

export const QUOTE = 0x22;

export const POINT = 0x2e;

export const ZERO = 0x30;

export const LOWER_A = 0x61;

/** Room for the result of `writeEtag`. */
export const MAX_ETAG_BYTES = 32;

/** Writes the ETag of an entry. Returns the position after it. */
export function writeEtag(buffer: Buffer, start: number, tag: number, representation: Representation): number {
  let position = start;
  buffer[position++] = QUOTE;
  position = writeBase36(buffer, position, Math.trunc(tag / LOW_HALF));
  buffer[position++] = POINT;
  position = writeBase36(buffer, position, tag % LOW_HALF);
  if (representation !== "") position += buffer.latin1Write(representation, position);
  buffer[position++] = QUOTE;
  return position;
}

export const scratch = Buffer.alloc(MAX_ETAG_BYTES);

/** The result of `writeEtag` as text. */
export function etagOf(tag: number, representation: Representation): string {
  return scratch.latin1Slice(0, writeEtag(scratch, 0, tag, representation));
}

/** @param value up to 31 bits */
export function writeBase36(buffer: Buffer, start: number, value: number): number {
  let end = start + 1;
  for (let rest = value; rest >= RADIX; rest = (rest / RADIX) | 0) end++;
  let rest = value;
  for (let at = end - 1; at >= start; at--) {
    const higher = (rest / RADIX) | 0;
    const digit = rest - higher * RADIX;
    buffer[at] = digit < 10 ? ZERO + digit : LOWER_A + digit - 10;
    rest = higher;
  }
  return end;
}
