/**
 * Finds the ends of Zstandard frames (RFC 8878, section 3.1). The runtime's decoder ignores a truncated frame, and
 * bytes that are not a frame, without an error.
 */

const MAGIC = 0xfd2fb528;
/** The low four bits are free for users. */
const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_HEAD_BYTES = 8;

const SINGLE_SEGMENT = 0x20;
const CHECKSUM = 0x04;
const CHECKSUM_BYTES = 4;
/** Indexed by the two low bits of the frame descriptor. */
const DICTIONARY_BYTES = [0, 1, 2, 4] as const;
/** Indexed by its two high bits; the first is 1 in a single segment. */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;

const BLOCK_HEAD_BYTES = 3;
const LAST_BLOCK = 1;
/** One byte that is repeated as often as the block header says. */
const RUN_BLOCK = 1;

/** Whether the bytes are only whole frames, at least one of them with content. The content itself is not checked. */
export function areWholeZstdFrames(bytes: Buffer): boolean {
  let hasContent = false;
  let at = 0;
  while (at >= 0 && at + 4 <= bytes.length) {
    const magic = bytes.readUInt32LE(at);
    if (magic === MAGIC) {
      at = frameEnd(bytes, at);
      hasContent = true;
    } else if ((magic & ~0xf) === SKIPPABLE_MAGIC) at = skippableEnd(bytes, at);
    else return false;
  }
  return at === bytes.length && hasContent;
}

/** @returns the end of the frame, perhaps beyond the bytes; -1 = it has no last block */
function frameEnd(bytes: Buffer, start: number): number {
  const descriptor = bytes[start + 4] ?? 0;
  const isSingle = (descriptor & SINGLE_SEGMENT) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 && isSingle ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] ?? 0);
  const windowBytes = isSingle ? 0 : 1;
  let at = start + 5 + windowBytes + (DICTIONARY_BYTES[descriptor & 3] ?? 0) + sizeBytes;
  while (at + BLOCK_HEAD_BYTES <= bytes.length) {
    const head = bytes.readUIntLE(at, BLOCK_HEAD_BYTES);
    const type = (head >> 1) & 3;
    at += BLOCK_HEAD_BYTES + (type === RUN_BLOCK ? 1 : head >> 3);
    if ((head & LAST_BLOCK) !== 0) return at + ((descriptor & CHECKSUM) !== 0 ? CHECKSUM_BYTES : 0);
  }
  return -1;
}

function skippableEnd(bytes: Buffer, start: number): number {
  if (start + SKIPPABLE_HEAD_BYTES > bytes.length) return -1;
  return start + SKIPPABLE_HEAD_BYTES + bytes.readUInt32LE(start + 4);
}
