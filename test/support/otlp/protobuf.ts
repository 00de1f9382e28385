/** Reads Protocol Buffers by a description of their messages: as much of it as OTLP needs. */

type Kind = "string" | "hex" | "bool" | "double" | "fixed64" | "varint" | "sint32" | "packed-varint" | Message;

/** Field numbers to names and kinds; `many` = repeated. */
export interface Message {
  readonly [field: number]: readonly [name: string, kind: Kind | (() => Message), many?: "many"];
}

/** By wire type. */
const FIXED_BYTES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

export type Decoded = Record<string, unknown>;

export function decode(bytes: Buffer, message: Message): Decoded {
  const result: Decoded = {};
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("a message is cut short");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    let raw: Buffer | bigint;
    if (wire === 0) raw = varint();
    else {
      const length = wire === 2 ? Number(varint()) : FIXED_BYTES[wire];
      if (length === undefined) throw new Error(`wire type ${wire} is none of OTLP's`);
      raw = bytes.subarray(at, at + length);
      at += length;
    }
    const field = message[tag >> 3];
    if (field === undefined) continue;
    const [name, kind, many] = field;
    const value = valueFrom(raw, typeof kind === "function" ? kind() : kind);
    if (many === undefined) result[name] = value;
    else {
      const list = Array.isArray(result[name]) ? result[name] : [];
      result[name] = kind === "packed-varint" ? value : [...list, value];
    }
  }
  return result;
}

function valueFrom(raw: Buffer | bigint, kind: Kind): unknown {
  if (typeof raw === "bigint") {
    if (kind === "bool") return raw !== 0n;
    if (kind === "sint32") return Number((raw >> 1n) ^ -(raw & 1n));
    return Number(BigInt.asIntN(64, raw));
  }
  if (typeof kind === "object") return decode(raw, kind);
  switch (kind) {
    case "string":
      return raw.toString("utf8");
    case "hex":
      return raw.toString("hex");
    case "double":
      return raw.readDoubleLE(0);
    case "fixed64":
      return raw.length === 8 ? raw.readBigUInt64LE(0).toString() : raw.readUInt32LE(0);
    case "packed-varint": {
      const values: number[] = [];
      for (let at = 0; at < raw.length; ) {
        let value = 0;
        for (let factor = 1; ; factor *= 128) {
          const byte = raw[at++] ?? 0;
          value += (byte & 0x7f) * factor;
          if (byte < 0x80) break;
        }
        values.push(value);
      }
      return values;
    }
    default:
      throw new Error(`${kind} is no bytes`);
  }
}
