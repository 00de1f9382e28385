/**
 * HalfSipHash-1-3 with 64 bits of output: a keyed hash, so that an attacker cannot choose colliding keys.
 *
 * Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF" (INDOCRYPT 2012), and the authors'
 * reference implementation of the 32-bit variant (halfsiphash.c), with 1 compression and 3 finalisation rounds.
 */
export class HalfSipHash {
  /** First and second half of the last digest, as signed 32-bit integers. */
  lo = 0;
  hi = 0;

  constructor(
    private readonly key0: number,
    private readonly key1: number,
  ) {}

  /** Hashes `bytes[start .. start + length)` into `lo` and `hi`. */
  digest(bytes: Buffer, start: number, length: number): void {
    let v0 = this.key0;
    let v1 = this.key1 ^ 0xee;
    let v2 = this.key0 ^ 0x6c796765;
    let v3 = this.key1 ^ 0x74656462;
    const wordEnd = start + (length & ~3);
    let at = start;
    let word = 0;
    while (at <= wordEnd) {
      if (at < wordEnd) word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      else word = tailWord(bytes, wordEnd, length & 3, length);
      at += 4;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    v2 ^= 0xee;
    for (let round = 0; round < 6; round++) {
      if (round === 3) {
        this.lo = v1 ^ v3;
        v1 ^= 0xdd;
      }
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.hi = v1 ^ v3;
  }
}

/** The last 0 to 3 bytes, with the length in the highest byte. */
function tailWord(bytes: Buffer, from: number, rest: number, length: number): number {
  let word = length << 24;
  if (rest > 2) word |= bytes[from + 2]! << 16;
  if (rest > 1) word |= bytes[from + 1]! << 8;
  if (rest > 0) word |= bytes[from]!;
  return word;
}
