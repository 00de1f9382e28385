import { expect, test } from "bun:test";
import { echo, startTestHttpServer, TEST_TRACE_ID } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";

const HOST = "Host: a\r\n";
const CHUNKED = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;

/** name, bytes, status, code */
const REFUSED: readonly (readonly [string, string, number, string])[] = [
  ["HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "ERR_HTTP_VERSION"],
  ["HTTP/3.1", `GET / HTTP/3.1\r\n${HOST}\r\n`, 505, "ERR_HTTP_VERSION"],
  ["HTTP/0.9", "GET /\r\n", 400, "ERR_BAD_REQUEST"],
  ["lower-case version", `GET / http/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["version with a tail", `GET / HTTP/1.10\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["space before the method", ` GET / HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["method with a separator", `G(T / HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["method without end", `${"A".repeat(33)} / HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "ERR_BAD_REQUEST"],
  ["two spaces in the request line", `GET  / HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["space in the target", `GET /a b HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["tab in the target", `GET /a\tb HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["NUL in the target", `GET /a\0b HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["DEL in the target", `GET /a\x7fb HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["raw UTF-8 in the target", `GET /\xc3\xa4 HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["fragment in the target", `GET /a#b HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["absolute-form target of another scheme", `GET hftp://a/ HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["absolute-form target without a host", `GET http:///a HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["absolute-form target with a port alone", `GET http://:80/a HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["absolute-form target with a user", `GET http://u@a/ HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["absolute-form target without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400, "ERR_BAD_REQUEST"],
  ["absolute-form target that is cut short", `GET http:/ HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["authority-form target", `CONNECT a:80 HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["target that begins with neither / nor *", `GET a HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["asterisk with a tail", `OPTIONS *a HTTP/1.1\r\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["bare LF after the request line", `GET / HTTP/1.1\n${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["bare LF after a header", `GET / HTTP/1.1\r\nHost: a\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["bare LF as the empty line", `GET / HTTP/1.1\r\n${HOST}\n`, 400, "ERR_BAD_REQUEST"],
  ["bare CR in a header", `GET / HTTP/1.1\r\n${HOST}X: a\rb\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["folded header", `GET / HTTP/1.1\r\n${HOST}X: a\r\n b\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["folded first header", `GET / HTTP/1.1\r\n ${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["NUL in a header value", `GET / HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["control byte in a header value", `GET / HTTP/1.1\r\n${HOST}X: a\x01b\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["space before the colon", `GET / HTTP/1.1\r\n${HOST}X : a\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["header without a name", `GET / HTTP/1.1\r\n${HOST}: a\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["header without a colon", `GET / HTTP/1.1\r\n${HOST}X\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["separator in a header name", `GET / HTTP/1.1\r\n${HOST}X(Y): a\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["non-ASCII header name", `GET / HTTP/1.1\r\n${HOST}X\xe4: a\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400, "ERR_BAD_REQUEST"],
  ["two Hosts", `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["two Hosts in HTTP/1.0", `GET / HTTP/1.0\r\n${HOST}${HOST}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "ERR_BAD_REQUEST"],
  ["Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "ERR_BAD_REQUEST"],
  ["different Content-Lengths", length("1", "2"), 400, "ERR_BAD_REQUEST"],
  ["repeated Content-Length", length("1", "1"), 400, "ERR_BAD_REQUEST"],
  ["list as Content-Length", length("1, 1"), 400, "ERR_BAD_REQUEST"],
  ["signed Content-Length", length("+1"), 400, "ERR_BAD_REQUEST"],
  ["negative Content-Length", length("-1"), 400, "ERR_BAD_REQUEST"],
  ["hexadecimal Content-Length", length("0x1"), 400, "ERR_BAD_REQUEST"],
  ["empty Content-Length", length(""), 400, "ERR_BAD_REQUEST"],
  ["fraction as Content-Length", length("1.0"), 400, "ERR_BAD_REQUEST"],
  ["Content-Length over the limit", length("16842753"), 413, "ERR_BODY_TOO_LARGE"],
  ["Content-Length of 40 digits", length("9".repeat(40)), 413, "ERR_BODY_TOO_LARGE"],
  ["large Content-Length with leading zeros", length("00000000016842753"), 413, "ERR_BODY_TOO_LARGE"],
  [
    "two Content-Types",
    `PUT / HTTP/1.1\r\n${HOST}Content-Type: a/b\r\ncontent-type: a/b\r\n\r\n`,
    400,
    "ERR_BAD_REQUEST",
  ],
  ["Content-Length, then Transfer-Encoding", encoding("chunked", "Content-Length: 3\r\n"), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding, then Content-Length", encoding("chunked\r\nContent-Length: 3"), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding: gzip", encoding("gzip"), 501, "ERR_TRANSFER_CODING"],
  ["Transfer-Encoding: gzip, chunked", encoding("gzip, chunked"), 501, "ERR_TRANSFER_CODING"],
  ["Transfer-Encoding: identity", encoding("identity"), 501, "ERR_TRANSFER_CODING"],
  ["Transfer-Encoding: xchunked", encoding("xchunked"), 501, "ERR_TRANSFER_CODING"],
  ["Transfer-Encoding: chunked;a=b", encoding("chunked;a=b"), 501, "ERR_TRANSFER_CODING"],
  ["Transfer-Encoding: chunked, gzip", encoding("chunked, gzip"), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding: chunked, chunked", encoding("chunked, chunked"), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding: gzip, chunked, chunked", encoding("gzip, chunked, chunked"), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding with an empty element", encoding(",chunked"), 400, "ERR_BAD_REQUEST"],
  ["empty Transfer-Encoding", encoding(""), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding with a vertical tab", encoding("\x0bchunked"), 400, "ERR_BAD_REQUEST"],
  ["repeated Transfer-Encoding", encoding("chunked\r\nTransfer-Encoding: chunked"), 400, "ERR_BAD_REQUEST"],
  ["Transfer-Encoding in HTTP/1.0", encoding("chunked").replace("1.1", "1.0"), 400, "ERR_BAD_REQUEST"],
  ["chunk size without digits", `${CHUNKED}\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk size that isn't hexadecimal", `${CHUNKED}g\r\n`, 400, "ERR_BAD_REQUEST"],
  ["signed chunk size", `${CHUNKED}+1\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk size with 0x", `${CHUNKED}0x1\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk size with a space", `${CHUNKED}1 \r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk size of nine digits", `${CHUNKED}100000001\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk size of nine digits after zeros", `${CHUNKED}00100000001\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk size of zeros without end", `${CHUNKED}${"0".repeat(300)}\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["white space before a chunk size", `${CHUNKED} 1\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["white space within a chunk size", `${CHUNKED}1 0;a\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["white space within an extension's name", `${CHUNKED}1;a b\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["white space within an extension's value", `${CHUNKED}1;a=b c\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["white space at the end of an extension", `${CHUNKED}1;a \r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["an extension of white space", `${CHUNKED}1; \r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["bare LF after the chunk size", `${CHUNKED}1\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["CR without LF after the chunk size", `${CHUNKED}1\ra\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk longer than its size", `${CHUNKED}1\r\nab\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["bare LF after the chunk", `${CHUNKED}1\r\na\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk extension without a name", `${CHUNKED}1;\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk extension without a value", `${CHUNKED}1;a=\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk extension with a bare LF", `${CHUNKED}1;a\nb\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk extension with an open quote", `${CHUNKED}1;a="b\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk line too long", `${CHUNKED}1;${"a".repeat(300)}\r\na\r\n0\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["chunk over the body limit", `${CHUNKED}1010001\r\n`, 413, "ERR_BODY_TOO_LARGE"],
  ["trailer without a colon", `${CHUNKED}0\r\nabc\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["folded trailer", `${CHUNKED}0\r\na: b\r\n c\r\n\r\n`, 400, "ERR_BAD_REQUEST"],
  ["trailers over their limit", `${CHUNKED}0\r\na: ${"b".repeat(8192)}\r\n\r\n`, 431, "ERR_HEADERS_TOO_LARGE"],
  ["unknown expectation", `POST / HTTP/1.1\r\n${HOST}Expect: a\r\n\r\n`, 417, "ERR_EXPECTATION_FAILED"],
  ["target over the limit", `GET /${"a".repeat(8192)} HTTP/1.1\r\n${HOST}\r\n`, 414, "ERR_TARGET_TOO_LONG"],
  ["target without end", `GET /${"a".repeat(9000)}`, 414, "ERR_TARGET_TOO_LONG"],
  ["head over the limit", `GET / HTTP/1.1\r\n${HOST}X: ${"a".repeat(16_400)}\r\n\r\n`, 431, "ERR_HEADERS_TOO_LARGE"],
  ["head without end", `GET / HTTP/1.1\r\nX: ${"a".repeat(16_400)}`, 431, "ERR_HEADERS_TOO_LARGE"],
  ["101 headers", `GET / HTTP/1.1\r\n${HOST}${"X: a\r\n".repeat(100)}\r\n`, 431, "ERR_HEADERS_TOO_LARGE"],
];

function length(...values: string[]): string {
  const lines = values.map((value) => `Content-Length: ${value}\r\n`);
  return `POST / HTTP/1.1\r\n${HOST}${lines.join("")}\r\na`;
}

function encoding(value: string, before = ""): string {
  return `POST / HTTP/1.1\r\n${HOST}${before}Transfer-Encoding: ${value}\r\n\r\n0\r\n\r\n`;
}

async function expectRefusal(client: RawClient, status: number, code: string): Promise<void> {
  const answer = await client.answer();
  expect(answer.status).toBe(status);
  expect(answer.headers.get("connection")).toBe("close");
  expect(answer.headers.get("content-type")).toBe("application/json");
  expect(JSON.parse(answer.body)).toEqual({ error: expect.stringMatching(/.{10}/), code, trace_id: TEST_TRACE_ID });
  expect(await client.rest()).toBe("");
  client.socket.end();
  expect(await client.closed).toBeNull();
}

for (const [name, bytes, status, code] of REFUSED) {
  test(`${name}: ${status}, then closed, and what follows is not read`, async () => {
    let calls = 0;
    using server = startTestHttpServer(() => {
      calls++;
    });
    const client = await RawClient.open(server.port, { allowHalfOpen: true });
    await client.send(`${bytes}GET /smuggled HTTP/1.1\r\n${HOST}\r\n`);
    await expectRefusal(client, status, code);
    expect(calls).toBe(0);
  });

  test(`${name}, byte by byte: ${status}, then closed`, async () => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port, { allowHalfOpen: true });
    // What has to be seen before the refusal; all of it in single bytes would only be slow for the long ones.
    const split = Math.max(0, bytes.length - 200);
    client.send(bytes.slice(0, split));
    for (const byte of bytes.slice(split)) await client.send(byte);
    // Some of these wait for what would have been the rest.
    await client.send(`GET / HTTP/1.1\r\n${HOST}\r\n\r\n`);
    await expectRefusal(client, status, code);
  });
}

const ACCEPTED: readonly (readonly [string, string, string])[] = [
  ["an unknown method", `BREW /pot HTTP/1.1\r\n${HOST}\r\n`, "BREW /pot "],
  ["a target as it was sent", `GET /a/%2F/../%zz//?b=?c HTTP/1.1\r\n${HOST}\r\n`, "GET /a/%2F/../%zz//?b=?c "],
  ["OPTIONS *", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, "OPTIONS * "],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / "],
  ["an IPv6 Host", "GET / HTTP/1.1\r\nhOsT:\t[::1]:80 \t\r\n\r\n", "GET / "],
  ["empty lines before the request", `\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, "GET / "],
  ["100 headers", `GET / HTTP/1.1\r\n${HOST}${"X: a\r\n".repeat(99)}\r\n`, "GET / "],
  ["the longest target", `GET /${"a".repeat(8191)} HTTP/1.1\r\n${HOST}\r\n`, `GET /${"a".repeat(8191)} `],
  ["an absolute-form target", `GET http://b:80/a?c HTTP/1.1\r\n${HOST}\r\n`, "GET /a?c "],
  ["a scheme in capitals", `GET HTTPS://[::1]/a HTTP/1.1\r\n${HOST}\r\n`, "GET /a "],
  ["an absolute-form target without a path", `GET http://b HTTP/1.1\r\n${HOST}\r\n`, "GET  "],
  ["an absolute-form target without a path, with a query", `GET http://b?c HTTP/1.1\r\n${HOST}\r\n`, "GET ?c "],
  ["an absolute-form target with slashes", `GET http://b//c://d HTTP/1.1\r\n${HOST}\r\n`, "GET //c://d "],
  ["HTTP/1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`, "GET / "],
  ["HTTP/1.9 with a chunked body", `${CHUNKED.replace("1.1", "1.9")}1\r\na\r\n0\r\n\r\n`, "POST / a"],
  [
    "white space around chunk extensions",
    `${CHUNKED}1 \t;\t a \t=\t b ;c ; d= "e" ;f\r\na\r\n0\t;g\r\n\r\n`,
    "POST / a",
  ],
  ["leading zeros in chunk sizes", `${CHUNKED}${"0".repeat(40)}1\r\na\r\n${"0".repeat(40)}\r\n\r\n`, "POST / a"],
  ["many zeros in Content-Length", `PUT / HTTP/1.1\r\n${HOST}Content-Length: ${"0".repeat(40)}2\r\n\r\nab`, "PUT / ab"],
  ["a body of GET", `GET / HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nab`, "GET / ab"],
  ["leading zeros in Content-Length", `PUT / HTTP/1.1\r\n${HOST}Content-Length: 002\r\n\r\nab`, "PUT / ab"],
  [
    "chunks with extensions and trailers",
    `${CHUNKED}2;a;b=c;d="e\\"f"\r\nab\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n`,
    "POST / ab0123456789",
  ],
  ["an empty chunked body", `${CHUNKED}0\r\n\r\n`, "POST / "],
  ["CHUNKED in capitals", `${CHUNKED.replace("chunked", "CHUNKED")}1\r\na\r\n0\r\n\r\n`, "POST / a"],
];

for (const [name, bytes, echoed] of ACCEPTED) {
  test(`accepts ${name}, split at every byte, with another request behind it`, async () => {
    using server = startTestHttpServer(echo);
    const client = await RawClient.open(server.port);
    const stride = Math.max(1, Math.floor(bytes.length / 100));
    for (let split = 0; split < bytes.length; split += stride) {
      await client.send(bytes.slice(0, split));
      await client.send(`${bytes.slice(split)}GET /next HTTP/1.1\r\n${HOST}\r\n`);
      expect((await client.answer()).body).toBe(echoed);
      expect((await client.answer()).body).toBe("GET /next ");
    }
  });
}

test("the authority of an absolute-form target takes the place of Host", async () => {
  using server = startTestHttpServer((request, response) =>
    response.sendText(200, "", request.header("host") ?? "none"),
  );
  const client = await RawClient.open(server.port);
  await client.send("GET http://b:80/ HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect([(await client.answer()).body, (await client.answer()).body]).toEqual(["b:80", "a"]);
});
