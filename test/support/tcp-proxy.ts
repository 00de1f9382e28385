/** A TCP proxy between a client and a server of the tests' own, which can delay, cut, hang and corrupt. */
import { connect, createServer, type Socket } from "node:net";

export type ProxyMode =
  | { readonly kind: "pass" }
  /** Every chunk in either direction comes so much later, in ms. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Nothing gets through, connections stay open. */
  | { readonly kind: "hang" }
  /** New connections are closed at once. */
  | { readonly kind: "refuse" }
  /** What the server answers is changed, byte by byte. */
  | { readonly kind: "corrupt" }
  /** After so many bytes of the server's answers the connection is reset. */
  | { readonly kind: "truncate"; readonly bytes: number };

export interface TcpProxy extends Disposable {
  readonly port: number;
  mode: ProxyMode;
  /** Resets all connections. */
  cut(): void;
  /** Tells clients that no more answers come, on connections that still take what they send. */
  halfClose(): void;
  readonly connections: number;
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (proxy.mode.kind === "refuse") {
      client.destroy();
      return;
    }
    const upstream = connect(targetPort, "127.0.0.1");
    const reset = () => {
      clients.delete(client);
      for (const socket of [client, upstream]) {
        sockets.delete(socket);
        socket.destroy();
      }
    };
    clients.add(client);
    // What half closing leaves open ends when the client ends it, as without it.
    client.on("end", reset);
    let answered = 0;
    const forward = (from: Socket, to: Socket, isAnswer: boolean) => {
      sockets.add(from);
      from.setNoDelay(true);
      from.on("error", reset);
      from.on("close", reset);
      from.on("data", (chunk: Buffer) => {
        const { mode } = proxy;
        if (mode.kind === "hang") return;
        if (mode.kind === "delay") {
          setTimeout(() => to.writable && to.write(chunk), mode.ms);
          return;
        }
        if (mode.kind === "truncate" && isAnswer) {
          answered += chunk.length;
          if (answered >= mode.bytes) {
            to.write(chunk.subarray(0, Math.max(0, chunk.length - (answered - mode.bytes))), reset);
            return;
          }
        }
        if (!to.writable) return;
        to.write(mode.kind === "corrupt" && isAnswer ? chunk.map((byte) => byte ^ 0x55) : chunk);
      });
    };
    forward(client, upstream, false);
    forward(upstream, client, true);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const proxy: TcpProxy = {
    port: typeof address === "object" && address !== null ? address.port : 0,
    mode: { kind: "pass" },
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    halfClose() {
      for (const client of clients) client.end();
    },
    get connections() {
      return sockets.size / 2;
    },
    [Symbol.dispose]() {
      proxy.cut();
      server.close();
    },
  };
  return proxy;
}
