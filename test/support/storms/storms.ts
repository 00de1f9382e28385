/** What hostile or unlucky clients do to the memory of a node. Each storm goes on until its process is ended. */

const MIB = 1024 ** 2;
const LARGEST_BYTES = 16 * MIB;
/** What all non-readers ask for: `storeLarge` has put it there. */
export const LARGE_KEY = "storm:large";

const AGAIN_MS = 5;
const DRIP_MS = 500;

export const storms: Readonly<Record<string, (port: number) => void>> = {
  /** Bodies that are sent whole, over and over. */
  "bodies that flood": (port) => crowd(16, () => sendAgainAndAgain(port, put(`storm:${pick(8)}`))),
  /** Bodies that are nearly whole and then get a byte now and then. */
  "bodies that drip": (port) => crowd(48, () => drip(port)),
  "clients that don't read": (port) =>
    crowd(120, () => ask(port, [Buffer.from(`GET /api/cache/${LARGE_KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n`)])),
  "replication without a token": (port) =>
    crowd(32, () => sendAgainAndAgain(port, request("POST", "/api/replication", LARGEST_BYTES))),
  /** A small request, and an answer of twice the largest value. */
  "batches with huge answers": (port) => crowd(32, () => sendAgainAndAgain(port, batchOfGets())),
  /** Values of 16 KiB that decode to the largest value, for clients that take no coding. */
  "bombs to decode": (port) => void storeBomb(port).then(() => crowd(32, () => sendAgainAndAgain(port, [BOMB_GET]))),
  /** Every key is another one that isn't cached. */
  "misses with huge answers": (port) => crowd(32, (client) => missAgainAndAgain(port, client)),
};

/** Stores the largest value that the node takes. */
export async function storeLarge(port: number): Promise<number> {
  for (let bytes = LARGEST_BYTES; bytes >= MIB; bytes /= 2) {
    const url = `http://127.0.0.1:${port}/api/cache/${LARGE_KEY}`;
    const answer = await fetch(url, { method: "PUT", body: Buffer.alloc(bytes, 0x76) });
    await answer.arrayBuffer();
    if (answer.ok) return bytes;
  }
  throw new Error("the node takes no value of a MiB");
}

const BOMB_GET = Buffer.from("GET /api/cache/storm:bomb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");

async function storeBomb(port: number): Promise<void> {
  const headers = { "content-type": "text/plain", "content-encoding": "gzip" };
  const body = Bun.gzipSync(zeros);
  const answer = await fetch(`http://127.0.0.1:${port}/api/cache/storm:bomb`, { method: "PUT", body, headers });
  if (!answer.ok) throw new Error(`the bomb was answered with ${answer.status}`);
}

function crowd(count: number, start: (client: number) => void): void {
  for (let client = 0; client < count; client++) start(client);
}

function pick(count: number): number {
  return Math.floor(Math.random() * count);
}

const zeros = Buffer.alloc(LARGEST_BYTES);

function request(method: string, path: string, bodyBytes: number): readonly Buffer[] {
  const head = `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bodyBytes}\r\n\r\n`;
  return [Buffer.from(head), zeros.subarray(0, bodyBytes)];
}

function put(key: string): readonly Buffer[] {
  return request("PUT", `/api/cache/${key}`, LARGEST_BYTES);
}

function batchOfGets(): readonly Buffer[] {
  const get = `{"op":"get","key":"${LARGE_KEY}"}`;
  const body = Buffer.from(`{"operations":[${get},${get}]}`);
  return [Buffer.from(`POST /api/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`), body];
}

function missAgainAndAgain(port: number, client: number): void {
  let number = 0;
  const next = (): readonly Buffer[] => {
    const path = `/api/cache/storm:miss:${client}:${number++}`;
    return [Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)];
  };
  connect(port, next, { again: true });
}

function sendAgainAndAgain(port: number, parts: readonly Buffer[]): void {
  connect(port, () => parts, { again: true });
}

/** Sends a request and never reads the answer. */
function ask(port: number, parts: readonly Buffer[]): void {
  connect(port, () => parts, { isDeaf: true, again: true });
}

function drip(port: number): void {
  const [head = zeros, body = zeros] = put("storm:drip");
  connect(port, () => [head, body.subarray(0, LARGEST_BYTES - MIB)], { dripEveryMs: DRIP_MS, again: true });
}

interface Manner {
  readonly isDeaf?: boolean;
  readonly dripEveryMs?: number;
  /** On a new connection, after an answer or the end of the one before. */
  readonly again: boolean;
}

function connect(port: number, next: () => readonly Buffer[], manner: Manner): void {
  let rest: Buffer[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  const again = (): void => {
    clearInterval(timer);
    if (manner.again) setTimeout(() => connect(port, next, manner), AGAIN_MS);
  };
  const send = (socket: Bun.Socket): void => {
    while (rest.length > 0) {
      const [part = zeros] = rest;
      const sent = Math.max(0, socket.write(part));
      if (sent < part.length) {
        rest[0] = part.subarray(sent);
        return;
      }
      rest.shift();
    }
    if (manner.dripEveryMs !== undefined) timer ??= setInterval(() => socket.write("a"), manner.dripEveryMs);
  };
  Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open(socket) {
        rest = [...next()];
        if (manner.isDeaf === true) socket.pause();
        send(socket);
      },
      drain: send,
      data() {},
      error() {},
      close: again,
      connectError: again,
      end(socket) {
        socket.end();
      },
    },
  }).catch(() => {});
}
