import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "../../../src/http/transport/limits.ts";
import { NO_LENGTH, ParsedRequest } from "../../../src/http/transport/request.ts";
import { INCOMPLETE, parseHead, REFUSED } from "../../../src/http/transport/request-parser.ts";

const HOST = "Host: h\r\n";

/** Parses a head that does not begin at byte 0. */
function parsed(text: string, limits: Partial<HttpLimits> = {}) {
  const request = new ParsedRequest();
  const buffer = Buffer.from(`##${text}`, "latin1");
  const end = parseHead(request, buffer, 2, buffer.length, { ...DEFAULT_HTTP_LIMITS, ...limits });
  return { request, end: end < 0 ? end : end - 2, code: end === REFUSED ? (request.refusal?.code ?? "none") : null };
}

const target = ({ buffer, targetStart, targetEnd }: ParsedRequest) => buffer.latin1Slice(targetStart, targetEnd);

describe("a head", () => {
  test("is read with its method, target, query, headers and end", () => {
    const head = `POST /a/b?c=d?e HTTP/1.1\r\n${HOST}X-Two: 1\r\nContent-Length: 0012\r\nx-two: \t2 3 \t\r\n\r\n`;
    const { request, end } = parsed(`${head}body`);
    expect(end).toBe(head.length);
    expect([request.method, target(request)]).toEqual(["POST", "/a/b?c=d?e"]);
    expect(request.buffer.latin1Slice(request.queryStart, request.targetEnd)).toBe("c=d?e");
    expect([request.header("x-two"), request.header("host"), request.header("none")]).toEqual(["1, 2 3", "h", null]);
    expect([request.contentLength, request.chunked, request.keepAlive]).toEqual([12, false, true]);
  });

  test("is incomplete up to its last byte", () => {
    const head = `GET http://h/x?y HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    for (let length = 0; length < head.length; length++) {
      expect([length, parsed(head.slice(0, length)).end]).toEqual([length, INCOMPLETE]);
    }
    expect(parsed(head).end).toBe(head.length);
  });

  test("leaves nothing of the one before it", () => {
    const request = new ParsedRequest();
    const parse = (text: string) =>
      parseHead(request, Buffer.from(text, "latin1"), 0, text.length, DEFAULT_HTTP_LIMITS);
    const flags = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\nIf-Match: *\r\n";
    parse(`PUT http://other/x?y HTTP/1.1\r\n${HOST}${flags}Content-Type: text/x\r\n\r\n`);
    expect([request.chunked, request.expectsContinue, request.keepAlive, request.isConditional]).toEqual([
      ...[true, true, false, true],
    ]);
    parse(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    const { chunked, expectsContinue, keepAlive, isConditional, hasContentType, queryStart } = request;
    expect([chunked, expectsContinue, keepAlive, isConditional, hasContentType, queryStart]).toEqual([
      ...[false, false, true, false, false, -1],
    ]);
    expect([request.header("content-type"), request.contentLength]).toEqual([null, NO_LENGTH]);
  });
});

describe("the target", () => {
  test.each([
    ["/", "/", "h"],
    ["/%00%zz?", "/%00%zz?", "h"],
    ["*", "*", "h"],
    ["http://other:80/x?y", "/x?y", "other:80"],
    ["HTTPS://[::1]/x", "/x", "[::1]"],
    ["http://other", "", "other"],
    ["http://other?x", "?x", "other"],
  ])("%s is %j of the host %s", (sent, expected, host) => {
    const { request, code } = parsed(`GET ${sent} HTTP/1.1\r\n${HOST}\r\n`);
    expect([code, target(request), request.header("host")]).toEqual([null, expected, host]);
  });

  test.each([
    "x",
    "h:80",
    "*x",
    "http://",
    "http:///x",
    "http://:80/",
    "http://user@host/",
    "ftp://h/",
    "/a#b",
    "/ä",
    "/\u007f",
    "",
  ])("%j is refused", (sent) => {
    expect(parsed(`GET ${sent} HTTP/1.1\r\n${HOST}\r\n`).code).toBe("ERR_BAD_REQUEST");
  });

  test("of the longest length is read, and one byte more is refused before the line ends", () => {
    const limits = { targetBytes: 10 };
    expect(parsed(`GET /${"x".repeat(9)} HTTP/1.1\r\n${HOST}\r\n`, limits).code).toBeNull();
    expect(parsed(`GET /${"x".repeat(10)}`, limits).code).toBe("ERR_TARGET_TOO_LONG");
  });
});

describe("the version", () => {
  test.each([
    ["HTTP/1.1", "", true],
    ["HTTP/1.9", "", true],
    ["HTTP/1.0", "", false],
    ["HTTP/1.0", "Connection: keep-alive\r\n", true],
    ["HTTP/1.1", "Connection: close\r\n", false],
    ["HTTP/1.1", "Connection: x, Close ,y\r\n", false],
    ["HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false],
    ["HTTP/1.1", "Connection: closed\r\n", true],
  ])("%s with %j keeps the connection: %p", (version, header, keepsAlive) => {
    expect(parsed(`GET / ${version}\r\n${HOST}${header}\r\n`).request.keepAlive).toBe(keepsAlive);
  });

  test.each([
    ["HTTP/2.0", "ERR_HTTP_VERSION"],
    ["HTTP/0.9", "ERR_HTTP_VERSION"],
    ["http/1.1", "ERR_BAD_REQUEST"],
    ["HTTP/1,1", "ERR_BAD_REQUEST"],
    ["HTTP/1.x", "ERR_BAD_REQUEST"],
  ])("%s is refused with %s", (version, code) => {
    expect(parsed(`GET / ${version}\r\n${HOST}\r\n`).code).toBe(code);
  });
});

describe("headers that say where a request ends", () => {
  test.each([
    ["Content-Length: 5\r\nContent-Length: 5", "ERR_BAD_REQUEST"],
    ["Content-Length:", "ERR_BAD_REQUEST"],
    ["Content-Length: +5", "ERR_BAD_REQUEST"],
    ["Content-Length: 5, 5", "ERR_BAD_REQUEST"],
    ["Content-Length: 0x5", "ERR_BAD_REQUEST"],
    ["Content-Length: 5\r\nTransfer-Encoding: chunked", "ERR_BAD_REQUEST"],
    ["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "ERR_BAD_REQUEST"],
    ["Transfer-Encoding: chunked, gzip", "ERR_BAD_REQUEST"],
    ["Transfer-Encoding: gzip, chunked", "ERR_TRANSFER_CODING"],
    ["Transfer-Encoding: identity", "ERR_TRANSFER_CODING"],
    ["Transfer-Encoding:", "ERR_BAD_REQUEST"],
    ["Expect: a miracle", "ERR_EXPECTATION_FAILED"],
    ["Content-Type: a\r\nContent-Type: a", "ERR_BAD_REQUEST"],
    ["Host: twice", "ERR_BAD_REQUEST"],
    ["Content-Length : 5", "ERR_BAD_REQUEST"],
    [" folded", "ERR_BAD_REQUEST"],
    ["A: b\r\n folded", "ERR_BAD_REQUEST"],
    ["A: b\u0000", "ERR_BAD_REQUEST"],
    ["A: b\n", "ERR_BAD_REQUEST"],
    [": b", "ERR_BAD_REQUEST"],
  ])("%j are refused", (headers, code) => {
    expect(parsed(`POST / HTTP/1.1\r\n${HOST}${headers}\r\n\r\n`).code).toBe(code);
  });

  test("of more digits than a number keeps are more than any limit", () => {
    const lengthOf = (digits: string) =>
      parsed(`POST / HTTP/1.1\r\n${HOST}Content-Length: ${digits}\r\n\r\n`).request.contentLength;
    expect([lengthOf("9".repeat(15)), lengthOf("9".repeat(40))]).toEqual([
      999_999_999_999_999,
      Number.MAX_SAFE_INTEGER,
    ]);
    expect(lengthOf(`${"0".repeat(40)}7`)).toBe(7);
  });

  test("mean nothing of the kind where their names are longer or shorter", () => {
    const others = "Content-Lengt: x\r\nContent-Lengths: x\r\nTransfer-Encodin: x\r\nXExpect: x\r\n";
    expect(parsed(`POST / HTTP/1.1\r\n${HOST}${others}\r\n`).code).toBeNull();
  });

  test("no Host is refused, but of HTTP/1.0", () => {
    expect([parsed("GET / HTTP/1.1\r\n\r\n").code, parsed("GET / HTTP/1.0\r\n\r\n").code]).toEqual([
      ...["ERR_BAD_REQUEST", null],
    ]);
  });
});

describe("a head may have", () => {
  test("so many headers and no more", () => {
    const head = (count: number) => `GET / HTTP/1.1\r\n${HOST}${"A: b\r\n".repeat(count - 1)}\r\n`;
    expect(parsed(head(3), { headers: 3 }).code).toBeNull();
    expect(parsed(head(4), { headers: 3 }).code).toBe("ERR_HEADERS_TOO_LARGE");
  });

  test("so many bytes and no more, whole or not", () => {
    const head = `GET / HTTP/1.1\r\n${HOST}\r\n`;
    expect(parsed(head, { headBytes: head.length }).code).toBeNull();
    expect(parsed(head, { headBytes: head.length - 1 }).code).toBe("ERR_HEADERS_TOO_LARGE");
    expect(parsed(head.slice(0, 20), { headBytes: 19 }).code).toBe("ERR_HEADERS_TOO_LARGE");
  });

  test("a method of its own, of 32 bytes at most", () => {
    expect(parsed(`PURGE / HTTP/1.1\r\n${HOST}\r\n`).request.method).toBe("PURGE");
    expect(parsed("X".repeat(33)).code).toBe("ERR_BAD_REQUEST");
    for (const method of ["", "G ET", "G\tET", "GET\u0000"]) {
      expect(parsed(`${method} / HTTP/1.1\r\n${HOST}\r\n`).code).toBe("ERR_BAD_REQUEST");
    }
  });
});

test("any headers are found by their names in any case, as they were sent", () => {
  const name = fc.string({ unit: fc.constantFrom(..."abcXYZ-09!"), minLength: 1, maxLength: 40 });
  const value = fc
    .string({ unit: fc.constantFrom(..."ab:,\t ~\u00e4\u00ff"), maxLength: 30 })
    .map((text) => text.trim());
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 30 }), (headers) => {
      const lines = headers.map(([one, text]) => `${one}: ${text}\r\n`).join("");
      const { request, end } = parsed(`GET / HTTP/1.1\r\n${HOST}${lines}\r\n`);
      fc.pre(end > 0);
      for (const [one] of headers) {
        const same = headers.filter(([other]) => other.toLowerCase() === one.toLowerCase());
        expect(request.header(one.toLowerCase())).toBe(same.map(([, text]) => text).join(", "));
      }
    }),
  );
});
