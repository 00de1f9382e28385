import { expect, test } from "bun:test";
import fc from "fast-check";
import { bodyOf, startTestHttpServer, targetOf } from "../../support/http-server.ts";
import { RawClient } from "../../support/raw-client.ts";
import { eventually } from "../../support/until.ts";

interface Sent {
  readonly method: string;
  readonly target: string;
  readonly mark: string;
  readonly body: string;
  readonly chunkSizes: readonly number[];
}

const text = fc.string({ unit: fc.constantFrom(...'ab/%?=;"\\:'), maxLength: 40 });
const sent: fc.Arbitrary<Sent> = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "BREW"),
  target: text.map((tail) => `/${tail}`),
  mark: text,
  body: fc.string({ unit: fc.constantFrom(..."ab\r\n0:"), maxLength: 300 }),
  chunkSizes: fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 5 }),
});

function bytesOf(request: Sent): string {
  const head = `${request.method} ${request.target} HTTP/1.1\r\nHost: a\r\nX-Mark: ${request.mark}\r\n`;
  if (request.chunkSizes.length === 0) return `${head}Content-Length: ${request.body.length}\r\n\r\n${request.body}`;
  let chunks = "";
  let at = 0;
  for (const size of [...request.chunkSizes, request.body.length]) {
    const chunk = request.body.slice(at, at + size);
    if (chunk !== "") chunks += `${chunk.length.toString(16)};a="b"\r\n${chunk}\r\n`;
    at += size;
  }
  return `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\nX: y\r\n\r\n`;
}

/** Sync or async by the length of the target: both ways of answering take part. */
function startRecorder() {
  return startTestHttpServer((request, response) => {
    const seen = JSON.stringify([request.method, targetOf(request), request.header("x-mark"), bodyOf(request)]);
    if (request.targetEnd % 2 === 0) return response.sendText(200, "", seen);
    return new Promise((resolve) =>
      setImmediate(() => {
        response.sendText(200, "", seen);
        resolve();
      }),
    );
  });
}

test("however a stream of requests is split, the same requests come out of it", async () => {
  using server = startRecorder();
  await fc.assert(
    fc.asyncProperty(
      fc.array(sent, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 30 }),
      async (requests, pieces) => {
        const client = await RawClient.open(server.port);
        let rest = requests.map(bytesOf).join("");
        for (const piece of pieces) {
          await client.send(rest.slice(0, piece));
          rest = rest.slice(piece);
        }
        await client.send(rest);
        for (const { method, target, mark, body } of requests) {
          expect(JSON.parse((await client.answer()).body)).toEqual([method, target, mark, body]);
        }
        client.socket.destroy();
      },
    ),
    { numRuns: 300 },
  );
}, 300_000);

test("damaged bytes are answered or refused, and the server lives", async () => {
  using server = startRecorder();
  const damage = fc.record({
    at: fc.nat({ max: 2_000 }),
    remove: fc.nat({ max: 3 }),
    insert: fc.uint8Array({ maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(sent, { minLength: 1, maxLength: 3 }),
      fc.array(damage, { minLength: 1, maxLength: 4 }),
      async (requests, damages) => {
        let bytes = requests.map(bytesOf).join("");
        for (const { at, remove, insert } of damages) {
          const position = at % bytes.length;
          const inserted = Buffer.from(insert).toString("latin1");
          bytes = bytes.slice(0, position) + inserted + bytes.slice(position + remove);
        }
        const client = await RawClient.open(server.port, { allowHalfOpen: true });
        client.socket.end(Buffer.from(bytes, "latin1"));
        expect(await client.rest()).toMatch(/^(HTTP\/1\.1 (100|200|400|408|413|414|417|431|501|505) |$)/);
        await client.closed;

        const next = await RawClient.open(server.port);
        await next.send("GET /good HTTP/1.1\r\nHost: a\r\n\r\n");
        expect((await next.answer()).status).toBe(200);
        next.socket.destroy();
      },
    ),
    { numRuns: 500 },
  );
  await eventually(() => server.connections === 0);
  expect(server.errors).toEqual([]);
}, 300_000);
