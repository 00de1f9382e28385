import zlib from "node:zlib";
import { MAX_VALUE_BYTES } from "../engine/engine.ts";
import { areWholeZstdFrames } from "./zstd-frames.ts";

/** Content codings (RFC 9110, section 8.4.1) that are undone here for clients that don't take them. */
export const CODINGS = ["gzip", "deflate", "br", "zstd"] as const;
export type Coding = (typeof CODINGS)[number];

/** Values of more than 16 MiB are no values of ours, and what decodes to more may be a bomb. */
const LIMIT = { maxOutputLength: MAX_VALUE_BYTES };

/** At one time, on one thread: each may need the memory of the largest value. */
const MOST_AT_ONCE = 4;

type Done = (error: Error | null, decoded: Buffer) => void;

const DECODERS: Readonly<Record<Coding, (bytes: Buffer, done: Done) => void>> = {
  gzip: (bytes, done) => zlib.gunzip(bytes, LIMIT, done),
  deflate: (bytes, done) => zlib.inflate(bytes, LIMIT, done),
  br: (bytes, done) => zlib.brotliDecompress(bytes, LIMIT, done),
  zstd: (bytes, done) => {
    if (areWholeZstdFrames(bytes)) zlib.zstdDecompress(bytes, LIMIT, done);
    else done(new Error("the last frame is cut short, or followed by something else"), bytes);
  },
};

/** Undoes content codings, away from the thread that asks. */
export class Decoder {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  /** @returns null where the bytes are not what the coding says, or more than a value may have come out of them */
  async decode(coding: Coding, bytes: Buffer): Promise<Buffer | null> {
    if (this.running === MOST_AT_ONCE) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running++;
    try {
      return await new Promise((resolve) =>
        DECODERS[coding](bytes, (error, decoded) => resolve(error === null ? decoded : null)),
      );
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}

/**
 * The coding that a `Content-Encoding` header names; null = none at all.
 *
 * @returns undefined for one that is unknown here, or several at once
 */
export function codingOf(header: string | null): Coding | null | undefined {
  const name = (header ?? "").trim().toLowerCase();
  if (name === "" || name === "identity") return null;
  // RFC 9110, section 8.4.1.3.
  return CODINGS.find((coding) => coding === (name === "x-gzip" ? "gzip" : name));
}

/**
 * Whether an `Accept-Encoding` header takes a coding (RFC 9110, section 12.5.3). One that is not there would take any;
 * but who doesn't send it most often doesn't know of codings.
 */
export function accepts(header: string | null, coding: Coding): boolean {
  if (header === null) return false;
  let any = false;
  for (const item of header.toLowerCase().split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) => part.trim());
    const taken = !parameters.some((parameter) => /^q=0(\.0{0,3})?$/.test(parameter));
    if (name === coding || (coding === "gzip" && name === "x-gzip")) return taken;
    if (name === "*") any = taken;
  }
  return any;
}
