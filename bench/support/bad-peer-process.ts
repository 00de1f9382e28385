/** A peer that does harm: `bad-peer-process.ts KIND PORT`. */
import { createServer, type Socket } from "node:net";
import { decodeMessage, encodeMessage, PROTOCOL } from "../../src/replication/wire/message.ts";

const PIECE = Buffer.alloc(256 * 1024, "a");
const OK = "HTTP/1.1 200 OK\r\nContent-Type: application/x-servcache-replication\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n`;
const SLOW_MS = 2000;
const ZEROS = Buffer.alloc(256 * 1024 * 1024);
const GZIP_BOMB = Buffer.from(Bun.gzipSync(ZEROS));
const ZSTD_BOMB = Buffer.concat([Buffer.from([0x53, PROTOCOL, 6, 1]), Bun.zstdCompressSync(ZEROS)]);

/** Writes the same again and again, as fast as it is taken. */
function pour(socket: Socket, piece: Buffer): void {
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
    if (!socket.destroyed) socket.once("drain", more);
  };
  more();
}

const chunkOf = (bytes: Buffer) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);

function answer(socket: Socket, status: string, body: Buffer): void {
  socket.write(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n`);
  socket.write(body);
}

function signed(): Buffer {
  return encodeMessage("answer", {
    protocol: PROTOCOL,
    id: 4_000_000_000,
    incarnation: 1,
    clock: Date.now(),
    stamp: 1,
  });
}

/** What each does with a whole request, whose body it is given. */
const KINDS: Readonly<Record<string, (socket: Socket, body: Buffer) => void>> = {
  hangs: () => {},
  "answers 404": (socket) => answer(socket, "404 Not Found", Buffer.from("no")),
  "answers 404 to all but hello": (socket, body) =>
    decodeMessage(body).kind === "hello"
      ? answer(socket, "200 OK", signed())
      : answer(socket, "404 Not Found", Buffer.from("no")),
  "answers after 2 s": (socket) => void setTimeout(() => answer(socket, "200 OK", signed()), SLOW_MS),
  "floods heads": (socket) => {
    socket.write(`${OK}X-Long: `);
    pour(socket, PIECE);
  },
  "floods heads, line by line": (socket) => {
    socket.write(OK);
    pour(socket, Buffer.from("X-Line: of many\r\n".repeat(10_000)));
  },
  "floods with 100 Continue": (socket) => pour(socket, Buffer.from("HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000))),
  "floods bodies": (socket) => {
    socket.write(`${CHUNKED}\r\n`);
    pour(socket, chunkOf(PIECE));
  },
  "floods with a length": (socket) => {
    socket.write(`${OK}Content-Length: 100000000000\r\n\r\n`);
    pour(socket, PIECE);
  },
  "floods batches' answers": (socket, body) => {
    if (decodeMessage(body).kind === "hello") return answer(socket, "200 OK", signed());
    socket.write(`${CHUNKED}\r\n`);
    pour(socket, chunkOf(PIECE));
  },
  "sends bombs of gzip": (socket) => {
    socket.write(`${CHUNKED}Content-Encoding: gzip\r\n\r\n`);
    pour(socket, chunkOf(GZIP_BOMB));
  },
  "sends bombs of zstd": (socket) => answer(socket, "200 OK", ZSTD_BOMB),
};

const [, , kind = "", port = ""] = process.argv;
const act = KINDS[kind];
if (act === undefined) throw new Error(`there is no peer that ${kind}`);
createServer((socket) => {
  let heard = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk]);
    for (;;) {
      const headEnd = heard.indexOf("\r\n\r\n");
      if (headEnd < 0) return;
      const length = Number(/^content-length: (\d+)/im.exec(heard.toString("latin1", 0, headEnd))?.[1] ?? 0);
      const end = headEnd + 4 + length;
      if (heard.length < end) return;
      const body = heard.subarray(headEnd + 4, end);
      heard = heard.subarray(end);
      act(socket, body);
    }
  });
}).listen(Number(port), "127.0.0.1");
