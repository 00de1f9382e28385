/** The classes of each byte as bits, so that one table look-up per byte decides (RFC 9110 section 5.6, RFC 3986). */
export const TOKEN = 1;
/** Field values: visible ASCII, space, tab, and the bytes from 0x80 on. No control bytes. */
export const FIELD_VALUE = 2;
/** Targets: visible ASCII except `#`, which begins a fragment; clients never send fragments. */
export const TARGET = 4;
/** Host: what a name, an IPv4 or `[IPv6]` address, and a port may consist of. */
export const HOST = 8;
export const DIGIT = 16;

export const BYTE_CLASS: Uint8Array = makeTable();

function makeTable(): Uint8Array {
  const table = new Uint8Array(256);
  const add = (bit: number, characters: string): void => {
    for (const character of characters) {
      const code = character.charCodeAt(0);
      table[code] = (table[code] ?? 0) | bit;
    }
  };
  const digits = "0123456789";
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  add(DIGIT, digits);
  add(TOKEN, `${digits}${letters}!#$%&'*+-.^_\`|~`);
  add(HOST, `${digits}${letters}-._~!$&'()*+,;=%:[]`);
  for (let code = 0x21; code <= 0x7e; code++) {
    const character = String.fromCharCode(code);
    add(character === "#" ? FIELD_VALUE : FIELD_VALUE | TARGET, character);
  }
  for (let code = 0x80; code <= 0xff; code++) add(FIELD_VALUE, String.fromCharCode(code));
  add(FIELD_VALUE, " \t");
  return table;
}
