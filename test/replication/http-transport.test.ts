import { expect, test } from "bun:test";
import { HttpTransport } from "../../src/replication/http-transport.ts";

const PIECE = new Uint8Array(1024 * 1024);

const LIMIT_BYTES = 4 * 1024 * 1024;

async function call(answer: () => Response): Promise<string> {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  const { signal } = new AbortController();
  const call = { method: "POST", path: "/", headers: {}, body: Buffer.alloc(0), signal, traceparents: [] } as const;
  const request = { ...call, limitBytes: LIMIT_BYTES };
  try {
    const { status, body } = await new HttpTransport().call({ url: `http://127.0.0.1:${server.port}` }, request);
    return `${status} ${body.length}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await server.stop(true);
  }
}

test("an answer comes whole, also in pieces without a length", async () => {
  const pieces = new ReadableStream({
    start(controller) {
      for (let piece = 0; piece < 3; piece++) controller.enqueue(PIECE);
      controller.close();
    },
  });
  expect(await call(() => new Response(pieces))).toBe(`200 ${3 * PIECE.length}`);
  expect(await call(() => new Response("ab", { status: 503 }))).toBe("503 2");
});

test("an answer without end is given up at the bound of its request", async () => {
  const endless = new ReadableStream({ pull: (controller) => controller.enqueue(PIECE) });
  expect(await call(() => new Response(endless))).toBe(`the answer is longer than ${LIMIT_BYTES} bytes`);
});

test("a compressed answer is asked not to be, and refused", async () => {
  const bomb = Bun.gzipSync(new Uint8Array(8 * PIECE.length));
  const answer = () => new Response(bomb, { headers: { "content-encoding": "gzip" } });
  expect(await call(answer)).toBe("the answer is encoded with gzip, though the request forbids that");
});
