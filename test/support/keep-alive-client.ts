/** A client that asks on one kept-alive connection, the next request as soon as the one before is answered. */

import { connect } from "node:net";

export interface KeepAliveClient {
  /** Answers that came whole. */
  readonly answers: number;
  /** Settles when the connection is over: with null where nothing was lost, else with what was. */
  readonly over: Promise<string | null>;
}

const ANSWER = /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n/;

export function startKeepAliveClient(port: number, path: string): KeepAliveClient {
  const over = Promise.withResolvers<string | null>();
  const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`;
  const socket = connect(port, "127.0.0.1");
  let answers = 0;
  let waiting = false;
  let received = "";

  const ask = (): void => {
    waiting = true;
    socket.write(request);
  };
  socket.setEncoding("latin1");
  socket.on("connect", ask);
  socket.on("data", (chunk: string) => {
    received += chunk;
    const head = ANSWER.exec(received);
    if (head === null) return;
    const length = Number(/^content-length: *(\d+)\r$/im.exec(head[2] ?? "")?.[1] ?? 0);
    if (received.length < head[0].length + length) return;
    if (head[1] !== "200") over.resolve(`status ${head[1]}`);
    received = received.slice(head[0].length + length);
    answers += 1;
    waiting = false;
    if (/^connection: *close\r$/im.test(head[2] ?? "")) socket.end();
    else ask();
  });
  socket.on("error", (error) => over.resolve(`error ${error.message} after ${answers} answers`));
  socket.on("close", () => over.resolve(waiting ? `closed without an answer after ${answers} answers` : null));

  return {
    get answers() {
      return answers;
    },
    over: over.promise,
  };
}
