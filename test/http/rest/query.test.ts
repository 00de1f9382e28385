import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFlagSet, parametersOf, type Query } from "../../../src/http/rest/query.ts";
import { ApiError } from "../../../src/http/transport/api-error.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";
import { ParsedRequest } from "../../../src/http/transport/request.ts";
import { parseHead } from "../../../src/http/transport/request-parser.ts";

function parse(query: string, known: readonly string[] = ["a", "b", "ä"]): Query {
  const request = new ParsedRequest();
  const head = Buffer.from(`GET /x${query} HTTP/1.1\r\nHost: h\r\n\r\n`, "latin1");
  expect(parseHead(request, head, 0, head.length, DEFAULT_HTTP_LIMITS)).toBe(head.length);
  return parametersOf(request, known);
}

/** What a query that is refused is answered. */
function refused(query: string, known?: readonly string[]): string {
  try {
    parse(query, known);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    expect([error.status, error.code]).toEqual([400, "ERR_BAD_QUERY"]);
    return error.message;
  }
  throw new Error(`${query} was not refused`);
}

describe("parameters", () => {
  test.each([
    ["", {}],
    ["?", {}],
    ["?&&", {}],
    ["?a", { a: "" }],
    ["?a=", { a: "" }],
    ["?a=1&b=2", { a: "1", b: "2" }],
    ["?a=1&a=2", { a: "1" }],
    ["?a=b=c?d", { a: "b=c?d" }],
    ["?a=x+y%2Bz", { a: "x y+z" }],
    ["?%61=1", { a: "1" }],
    ["?%C3%A4=%F0%9F%98%80", { ä: "😀" }],
    ["?a=%00", { a: "\u0000" }],
  ])("of %j are %j", (query, expected) => {
    expect(Object.fromEntries(parse(query))).toEqual(expected);
  });

  test.each(["?c", "?A=1", "?a=1&bb=2", "?=1"])("that are not known are refused by name: %s", (query) => {
    expect(refused(query)).toContain("this call accepts a, b, ä, and nothing else");
  });

  test("are none where a call has none", () => {
    expect(refused("?a", [])).toBe('the query has "a": this call accepts none');
  });

  test.each(["?a=%", "?a=%zz", "?%ff", "?a=%e4", "?a=%ED%A0%80"])("that can't be decoded are refused: %s", (query) => {
    expect(refused(query)).toContain("not percent-encoded UTF-8");
  });

  test("are quoted in a line, however long they are", () => {
    expect(refused(`?${"x".repeat(5000)}`).length).toBeLessThan(400);
  });

  test("of any text are what was encoded", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
        const query = `?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b).replaceAll("%20", "+")}`;
        expect(Object.fromEntries(parse(query))).toEqual({ a, b });
      }),
    );
  });
});

test.each([
  ["?a", true],
  ["?a=", true],
  ["?a=true", true],
  ["?a=0", true],
  ["?a=false", false],
  ["?b", false],
])("the flag of %s is set: %p", (query, isSet) => {
  expect(isFlagSet(parse(query), "a")).toBe(isSet);
});
