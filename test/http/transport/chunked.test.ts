import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BodyBuffer } from "../../../src/http/transport/body-buffer.ts";
import { ChunkedDecoder } from "../../../src/http/transport/chunked.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";
import { ByteBudget } from "../../../src/runtime/byte-budget.ts";

const LIMITS = { ...DEFAULT_HTTP_LIMITS, bodyBytes: 1000, trailerBytes: 50 };
const BUDGET_BYTES = 1024 * 1024;

/** What becomes of a body whose bytes come in pieces of these sizes, the last for all that is left. */
function decoded(text: string, sizes: readonly number[] = [], budget = ByteBudget.create(BUDGET_BYTES)) {
  const bytes = Buffer.from(text, "latin1");
  const body = new BodyBuffer(budget, LIMITS.bodyBytes);
  const decoder = new ChunkedDecoder(body, LIMITS);
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    const end = Math.min(bytes.length, at + size);
    at = decoder.push(bytes, at, end);
    if (at < end) break;
  }
  const value = body.bytes.latin1Slice(0, body.length);
  return { value, isDone: decoder.done, refusal: decoder.refusal?.code ?? null, rest: text.slice(at) };
}

describe("a chunked body is read", () => {
  test.each([
    ["0\r\n\r\n", ""],
    ["3\r\nabc\r\n0\r\n\r\n", "abc"],
    ["1\r\na\r\n2\r\nbc\r\n000\r\n\r\n", "abc"],
    ["A\r\n0123456789\r\n0\r\n\r\n", "0123456789"],
    ["0000000003\r\nabc\r\n0\r\n\r\n", "abc"],
    ["3;name\r\nabc\r\n0\r\n\r\n", "abc"],
    ['3 ; a = b ; c="d\\"; e"\r\nabc\r\n0;x\r\n\r\n', "abc"],
    ["2\r\n\r\n\r\n0\r\n\r\n", "\r\n"],
    ["0\r\nName: value\r\nOther:\r\n\r\n", ""],
  ])("%j", (text, value) => {
    expect(decoded(text)).toEqual({ value, isDone: true, refusal: null, rest: "" });
  });

  test("up to its end, and what follows is left", () => {
    expect(decoded("1\r\na\r\n0\r\n\r\nGET /")).toEqual({ value: "a", isDone: true, refusal: null, rest: "GET /" });
  });

  test("of the size that a body may have, and no more", () => {
    const most = `3e8\r\n${"x".repeat(1000)}\r\n`;
    expect(decoded(`${most}0\r\n\r\n`)).toMatchObject({ isDone: true, refusal: null });
    expect(decoded(`${most}1\r\nx\r\n0\r\n\r\n`)).toMatchObject({ isDone: false, refusal: "ERR_BODY_TOO_LARGE" });
    // Refused by its size, before a byte of it is read.
    expect(decoded("3e9\r\n").refusal).toBe("ERR_BODY_TOO_LARGE");
  });
});

describe("it is refused", () => {
  test.each([
    "\r\n",
    "g\r\n",
    "-1\r\n",
    "0x1\r\n",
    "1\n",
    "1\r\r",
    "1 2\r\n",
    " 1\r\n",
    "1;\r\n",
    "1;a=\r\n",
    '1;a="b\r\n',
    "1;=b\r\n",
    "1\r\na\n",
    "1\r\nab\r\n",
    "1\r\na\r\n\r\n",
    "123456789\r\n",
    `1;${"x".repeat(300)}\r\n`,
    "0\r\nname value\r\n\r\n",
    "0\r\n: value\r\n\r\n",
    "0\r\nname: a\u0000b\r\n\r\n",
    "0\r\nname: value\n\r\n",
  ])("where it is %j", (text) => {
    expect(decoded(text)).toMatchObject({ isDone: false, refusal: "ERR_BAD_REQUEST" });
  });

  test("where its trailers are long", () => {
    expect(decoded(`0\r\nname: ${"v".repeat(44)}`).refusal).toBeNull();
    expect(decoded(`0\r\nname: ${"v".repeat(45)}`).refusal).toBe("ERR_HEADERS_TOO_LARGE");
  });

  test("where the budget has no room for it", () => {
    expect(decoded("3\r\nabc\r\n", [], ByteBudget.create(1)).refusal).toBe("ERR_OVERLOADED");
  });
});

const chunk = fc.record({
  data: fc.string({ unit: fc.constantFrom("a", "\r", "\n", "0", ";"), minLength: 1, maxLength: 30 }),
  zeros: fc.constantFrom("", "0", "000"),
  extension: fc.constantFrom("", ";a", ";a=b", ' ; a="\\"b" ;c'),
});

test("however its bytes are split over packets, it is read as if they had come together", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 200 });
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 8 }),
      sizes,
      fc.constantFrom("", "N: v\r\n"),
      (chunks, pieces, trailer) => {
        const written = chunks.map(
          ({ data, zeros, extension }) => `${zeros}${data.length.toString(16)}${extension}\r\n${data}\r\n`,
        );
        const text = `${written.join("")}0\r\n${trailer}\r\nnext`;
        const value = chunks.map(({ data }) => data).join("");
        const expected = { value, isDone: true, refusal: null, rest: "next" };
        expect(decoded(text)).toEqual(expected);
        const split = decoded(text, pieces);
        expect({ ...split, rest: "next" }).toEqual(expected);
      },
    ),
  );
});

test("one byte that is another never makes a body of it that ends elsewhere, but by its size or data", () => {
  const text = "3;a\r\nabc\r\n0\r\nN: v\r\n\r\n";
  for (let at = 0; at < text.length; at++) {
    for (const byte of ["\u0000", "\u007f", "\n", "\r", ":"]) {
      if (text[at] === byte) continue;
      const { isDone, value } = decoded(text.slice(0, at) + byte + text.slice(at + 1));
      if (isDone) expect(value.length).toBe(3);
    }
  }
});
