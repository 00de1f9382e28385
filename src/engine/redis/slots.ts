/** Hash slots of Redis Cluster: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ */
const SLOT_COUNT = 16384;

/** CRC16-CCITT (XMODEM), polynomial 0x1021. */
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/**
 * The slot of a key: the hash of the text between the first `{` and the next `}` if it is not empty; otherwise of the
 * whole key.
 */
export function slotOf(name: string): number {
  const open = name.indexOf("{");
  const close = open < 0 ? -1 : name.indexOf("}", open + 1);
  const hashed = Buffer.from(close > open + 1 ? name.slice(open + 1, close) : name);
  let crc = 0;
  for (const byte of hashed) crc = ((crc << 8) & 0xffff) ^ (CRC16[(crc >> 8) ^ byte] ?? 0);
  return crc % SLOT_COUNT;
}

/** A short text for every slot, so that a helper key can be placed on the slot of any entry: `{text}`. */
export function makeSlotTags(): readonly string[] {
  const tags: string[] = new Array(SLOT_COUNT).fill("");
  let missing = SLOT_COUNT;
  for (let candidate = 0; missing > 0; candidate++) {
    const tag = candidate.toString(36);
    const slot = slotOf(tag);
    if (tags[slot] !== "") continue;
    tags[slot] = tag;
    missing--;
  }
  return tags;
}
