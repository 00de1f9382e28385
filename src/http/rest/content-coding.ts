import type { Transform } from "node:stream";
import zlib from "node:zlib";
import { MAX_VALUE_BYTES } from "../../model/entry.ts";
import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { TOO_MUCH_IN_FLIGHT } from "../transport/api-error.ts";
import { areWholeZstdFrames } from "./zstd-frames.ts";

/** The content codings (RFC 9110, section 8.4.1) that are decoded for clients that do not accept them. */
export const CODINGS = ["gzip", "deflate", "br", "zstd"] as const;
export type Coding = (typeof CODINGS)[number];

/** The most concurrent decodings on one thread. */
const MOST_AT_ONCE = 4;

/**
 * Decoded bytes are counted in steps: the first may use the whole budget, later ones leave a part to others (see
 * `ByteBudget.take`).
 */
const FIRST_STEP_BYTES = 32 * 1024;
const STEP_BYTES = 256 * 1024;
/** The chunks, and the buffer in which they are joined. */
const COPIES = 2;

/** `bytesWritten` is the number of encoded bytes consumed. */
type DecodingStream = Transform & { readonly bytesWritten: number };

const DECODERS: Readonly<Record<Coding, () => DecodingStream>> = {
  gzip: () => zlib.createGunzip(),
  deflate: () => zlib.createInflate(),
  br: () => zlib.createBrotliDecompress(),
  zstd: () => zlib.createZstdDecompress(),
};

/** Decoded bytes, and their share of the budget for answers, which the owner returns. */
export interface DecodedBytes {
  readonly bytes: Buffer;
  readonly countedBytes: number;
}

/** Decodes content codings outside the calling thread. */
export class Decoder {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  /**
   * Rejects with `TOO_MUCH_IN_FLIGHT` if the budget has no room for the result.
   *
   * @returns null if the bytes are not encoded as the coding says, or decode to more than the maximum size of a value
   */
  async decode(coding: Coding, bytes: Buffer, budget: ByteBudget): Promise<DecodedBytes | null> {
    if (this.running === MOST_AT_ONCE) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running++;
    try {
      // The decoder returns the beginning of a truncated frame without an error.
      if (coding === "zstd" && !areWholeZstdFrames(bytes)) return null;
      return await new Decoding(budget).run(DECODERS[coding](), bytes);
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}

/** One decoding. The output of a decompression bomb is counted as it is produced, and is bounded. */
class Decoding {
  private readonly chunks: Buffer[] = [];
  private length = 0;
  private countedBytes = 0;

  constructor(private readonly budget: ByteBudget) {}

  async run(stream: DecodingStream, encoded: Buffer): Promise<DecodedBytes | null> {
    const done = Promise.withResolvers<boolean>();
    stream.on("data", (chunk: Buffer) => {
      this.length += chunk.length;
      this.chunks.push(chunk);
      if (this.length > MAX_VALUE_BYTES) done.resolve(false);
      else if (!this.count()) done.reject(TOO_MUCH_IN_FLIGHT);
      else return;
      stream.destroy();
    });
    // The decoders stop where their format ends, and ignore the bytes behind it, which are invalid here (RFC 1950,
    // section 2.2; RFC 1952, section 2.2; RFC 7932, section 9.1).
    stream.on("end", () => done.resolve(stream.bytesWritten === encoded.length));
    stream.on("error", () => done.resolve(false));
    stream.end(encoded);
    let isWhole = false;
    try {
      isWhole = await done.promise;
      return isWhole ? this.putTogether() : null;
    } finally {
      if (!isWhole) this.budget.giveBack(InFlight.Answers, this.countedBytes);
    }
  }

  /** @returns false if there is no room for the output so far */
  private count(): boolean {
    const missing = COPIES * this.length - this.countedBytes;
    if (missing <= 0) return true;
    const step = Math.max(missing, this.countedBytes === 0 ? FIRST_STEP_BYTES : STEP_BYTES);
    if (!this.budget.take(InFlight.Answers, step)) return false;
    this.countedBytes += step;
    return true;
  }

  private putTogether(): DecodedBytes {
    const bytes = Buffer.concat(this.chunks, this.length);
    this.budget.giveBack(InFlight.Answers, this.countedBytes - bytes.length);
    return { bytes, countedBytes: bytes.length };
  }
}

/**
 * The coding in a `Content-Encoding` header; null = none.
 *
 * @returns undefined for an unknown coding, or several
 */
export function codingOf(header: string | null): Coding | null | undefined {
  const name = (header ?? "").trim().toLowerCase();
  if (name === "" || name === "identity") return null;
  // RFC 9110, section 8.4.1.3.
  return CODINGS.find((coding) => coding === (name === "x-gzip" ? "gzip" : name));
}

/**
 * Whether an `Accept-Encoding` header accepts a coding (RFC 9110, section 12.5.3). By the RFC, a missing header accepts
 * any coding; here it accepts none, because most clients that do not send it cannot decode.
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
