/**
 * Values that say what they are: whose, how long, of which put, and when they expire. The rest is filled with one word
 * that follows from key and generation, so that a piece of any other value stands out.
 */

/** Number of the key, length in bytes, generation, low word of the expiry, checksum of these. */
export const HEADER_WORDS = 5;
export const HEADER_BYTES = HEADER_WORDS * 4;
/** Words between two that are always looked at; of some values, all are. */
const SAMPLE_WORDS = 32;

export interface ValueHead {
  readonly key: number;
  readonly bytes: number;
  /** Grows with each put and delete of a key. */
  readonly generation: number;
  /** Ms since the Unix epoch, 0 = never. */
  readonly expiresAtMs: number;
}

function filler(key: number, generation: number): number {
  const mixed = Math.imul(key ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(generation + 0x7f4a7c15, 0xc2b2ae35);
  return mixed ^ (mixed >>> 13);
}

function checksum(words: Int32Array): number {
  let sum = 0x5eed;
  for (let word = 0; word < HEADER_WORDS - 1; word++) sum = Math.imul(sum ^ (words[word] ?? 0), 0x01000193);
  return sum;
}

/** Writes a value into the first `head.bytes` bytes, at least `HEADER_BYTES`, of `words`; what follows is any. */
export function writeValue(words: Int32Array, head: ValueHead): void {
  words[0] = head.key;
  words[1] = head.bytes;
  words[2] = head.generation;
  words[3] = head.expiresAtMs;
  words[4] = checksum(words);
  words.fill(filler(head.key, head.generation), HEADER_WORDS, Math.ceil(head.bytes / 4));
}

export interface Reading {
  readonly key: number;
  /** As the engine told them. */
  readonly bytes: number;
  readonly expiresAtMs: number;
  /** The newest generation that was put or deleted before the read began: what is older is gone. */
  readonly oldest: number;
  /** When the read began. */
  readonly nowMs: number;
}

/** What is wrong with a value that was read, or null. `sample` says which words are looked at; of each 16th, all are. */
export function faultOf(words: Int32Array, reading: Reading, sample: number): string | null {
  const { key, bytes, expiresAtMs, oldest, nowMs } = reading;
  if (bytes < HEADER_BYTES) return `${bytes} bytes are no value`;
  if (words[4] !== checksum(words)) return "torn header";
  if (words[0] !== key) return `foreign: a value of key ${words[0]}`;
  if (words[1] !== bytes) return `foreign: ${words[1]} bytes became ${bytes}`;
  if (words[3] !== (expiresAtMs | 0)) return "foreign: the expiry of another put";
  if (expiresAtMs !== 0 && expiresAtMs <= nowMs) return `expired ${nowMs - expiresAtMs} ms ago`;
  const generation = words[2] ?? 0;
  if (generation < oldest) return `old: generation ${generation} after ${oldest}`;
  const expected = filler(key, generation);
  const whole = bytes >>> 2;
  const step = (sample & 15) === 0 ? 1 : SAMPLE_WORDS;
  for (let word = HEADER_WORDS + (step === 1 ? 0 : sample % SAMPLE_WORDS); word < whole; word += step) {
    if (words[word] !== expected) return `torn at byte ${word * 4} of ${bytes}`;
  }
  if (whole > HEADER_WORDS && words[whole - 1] !== expected) return `torn at the end of ${bytes} bytes`;
  const rest = (bytes & 3) * 8;
  if (rest > 0 && (((words[whole] ?? 0) ^ expected) & ((1 << rest) - 1)) !== 0) return "torn at the last byte";
  return null;
}
