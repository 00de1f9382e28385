import { STATUS_CODES } from "node:http";

/** Room for the digits of any Content-Length. */
export const MAX_DIGITS = 16;

/** The first lines of each answer, status and Date, as text that is built once per status and second. */
export class ResponseHead {
  private dateText = "";
  private dateSecond = -1;
  private statusAndDate: string[] = [];

  /** @param nowMs ms since the Unix epoch; to be called about once a second */
  setTime(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    if (second === this.dateSecond) return;
    this.dateSecond = second;
    this.dateText = new Date(second * 1000).toUTCString();
    this.statusAndDate = [];
  }

  /** Status line and Date, with CRLF. */
  linesFor(status: number): string {
    return this.statusAndDate[status] ?? this.makeLines(status);
  }

  private makeLines(status: number): string {
    const lines = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\nDate: ${this.dateText}\r\n`;
    this.statusAndDate[status] = lines;
    return lines;
  }
}

/**
 * Copies a few bytes: up to some dozens this is faster than a call into the runtime. @returns the position after them
 */
export function writeShort(buffer: Buffer, position: number, bytes: Buffer): number {
  const { length } = bytes;
  for (let at = 0; at < length; at++) buffer[position + at] = bytes[at] ?? 0;
  return position + length;
}

/** Writes a whole number in decimal digits. @returns the position after it */
export function writeDecimal(buffer: Buffer, position: number, value: number): number {
  let end = position + 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) end++;
  let rest = value;
  for (let at = end - 1; at >= position; at--) {
    const tenth = Math.floor(rest / 10);
    buffer[at] = 0x30 + (rest - tenth * 10);
    rest = tenth;
  }
  return end;
}
