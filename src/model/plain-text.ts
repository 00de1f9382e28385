/** What differs from a byte of a word by these becomes zero where the byte is a quote, or a backslash. */
const QUOTES = 0x22222222;
const BACKSLASHES = 0x5c5c5c5c;
const SPACES = 0x20202020;
const ONES = 0x01010101;
const HIGH_BITS = 0x80808080;

const WORD_BYTES = 4;

/**
 * Goes over the bytes of a JSON string that stand for themselves, four at a time: about three times as fast as one by
 * one, so that a value of 16 MiB doesn't hold up its thread for longer than need be.
 *
 * A word of 32 bits is looked at as a whole. `(x - ONES) & ~x & HIGH_BITS` is not zero where a byte of `x` is zero, and
 * `(x - SPACES) & ~x & HIGH_BITS` where one is below 0x20. A borrow can make the byte above a hit look like one too,
 * which does no harm: the caller looks at each byte from there on.
 * Source: S. E. Anderson, "Bit Twiddling Hacks" ("Determine if a word has a byte less than n").
 *
 * @returns an index up to which there is no quote, backslash or control character; one of them, or the end, is at most
 *   three bytes further
 */
export function skipPlainText(buffer: Buffer, start: number, end: number): number {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  const last = end - WORD_BYTES;
  let at = start;
  while (at <= last) {
    const word = view.getInt32(at, true);
    const quotes = word ^ QUOTES;
    const backslashes = word ^ BACKSLASHES;
    const hits = ((quotes - ONES) & ~quotes) | ((backslashes - ONES) & ~backslashes) | ((word - SPACES) & ~word);
    if ((hits & HIGH_BITS) !== 0) return at;
    at += WORD_BYTES;
  }
  return at;
}
