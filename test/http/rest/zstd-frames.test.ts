import { describe, expect, test } from "bun:test";
import zlib from "node:zlib";
import { areWholeZstdFrames } from "../../../src/http/rest/zstd-frames.ts";

const { ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag } = zlib.constants;
const SHORT = Buffer.from('{"a":1}');
/** More than one block. */
const LONG = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * at * 31) >> 7));
const RUN = Buffer.alloc(300_000, "a");
const SKIPPABLE = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

function frame(content: Buffer, checksum: 0 | 1, contentSize: 0 | 1): Buffer {
  return zlib.zstdCompressSync(content, {
    params: { [ZSTD_c_checksumFlag]: checksum, [ZSTD_c_contentSizeFlag]: contentSize },
  });
}

const WHOLE: readonly (readonly [string, Buffer])[] = [
  ["a short frame", zlib.zstdCompressSync(SHORT)],
  ["no content", zlib.zstdCompressSync(Buffer.alloc(0))],
  ["a frame of several blocks", zlib.zstdCompressSync(LONG)],
  ["a frame of runs", zlib.zstdCompressSync(RUN)],
  ["a frame with a checksum", frame(SHORT, 1, 1)],
  ["a frame without its content's size", frame(SHORT, 0, 0)],
  ["two frames", Buffer.concat([zlib.zstdCompressSync(SHORT), frame(SHORT, 1, 0)])],
  ["a frame between two that are passed over", Buffer.concat([SKIPPABLE, zlib.zstdCompressSync(SHORT), SKIPPABLE])],
];

describe("Zstandard frames", () => {
  test.each(WHOLE)("are whole: %s", (_, bytes) => {
    expect(areWholeZstdFrames(bytes)).toBe(true);
  });

  test.each(WHOLE)("are not whole with any piece of the end missing, or with more behind it: %s", (_, bytes) => {
    const cuts = bytes.length < 100 ? bytes.map((_, at) => at) : [0, 3, 4, 5, 9, 1_000, bytes.length - 1];
    // Two frames that are cut between them are one whole frame, as is one without the one behind it.
    const taken = [...cuts].filter((length) => areWholeZstdFrames(bytes.subarray(0, length)));
    for (const length of taken) expect(zlib.zstdDecompressSync(bytes.subarray(0, length))).toEqual(SHORT);
    expect(taken.length).toBeLessThanOrEqual(1);
    for (const more of ["j", "junk", "junk that is longer"]) {
      expect(areWholeZstdFrames(Buffer.concat([bytes, Buffer.from(more)]))).toBe(false);
    }
  });

  test.each([
    ["nothing", Buffer.alloc(0)],
    ["another coding", zlib.gzipSync(SHORT)],
    ["only what is passed over", SKIPPABLE],
    ["what claims to be longer than it is", Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 1])],
  ])("are not: %s", (_, bytes) => {
    expect(areWholeZstdFrames(bytes)).toBe(false);
  });
});
