import { connect, type Socket } from "node:net";

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** The body as it came. */
  readonly bytes: Buffer;
}

/** A client that sends bytes as they are and reads answers one by one. */
export class RawClient {
  private received: Buffer = Buffer.alloc(0);
  private ended = false;
  private wake: () => void = () => {};
  /** Settles when the connection is closed in both directions; with the error's code, if there was one. */
  readonly closed: Promise<string | null>;

  private constructor(readonly socket: Socket) {
    let code: string | null = null;
    socket.on("data", (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.wake();
    });
    socket.on("end", () => this.end());
    socket.on("error", (error) => {
      code = "code" in error && typeof error.code === "string" ? error.code : error.message;
    });
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.end();
        resolve(code);
      });
    });
  }

  /** @param allowHalfOpen whether the client's side stays open when the server closes its own */
  static async open(port: number, { allowHalfOpen = false } = {}): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen, noDelay: true });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return client;
  }

  /** Settles when the kernel has taken the bytes. */
  send(bytes: string | Buffer): Promise<void> {
    const data = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
    return new Promise((resolve) => this.socket.write(data, () => resolve()));
  }

  /** The next answer. Rejects where the server closes before it is whole. */
  async answer({ toHead = false } = {}): Promise<RawAnswer> {
    for (;;) {
      const found = this.takeAnswer(toHead);
      if (found !== null) return found;
      if (this.ended) throw new Error(`closed with ${JSON.stringify(this.received.toString("latin1").slice(0, 200))}`);
      await this.change();
    }
  }

  /** Everything until the server closes its side. */
  async rest(): Promise<string> {
    while (!this.ended) await this.change();
    const text = this.received.toString("latin1");
    this.received = Buffer.alloc(0);
    return text;
  }

  private change(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private end(): void {
    this.ended = true;
    this.wake();
  }

  private takeAnswer(toHead: boolean): RawAnswer | null {
    const headEnd = this.received.indexOf("\r\n\r\n");
    if (headEnd === -1) return null;
    const [statusLine = "", ...lines] = this.received.toString("latin1", 0, headEnd).split("\r\n");
    const headers = new Map<string, string>();
    for (const line of lines)
      headers.set(line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2));
    const status = Number(statusLine.split(" ")[1]);
    const bodiless = toHead || status === 204 || status === 304 || status === 100;
    const length = bodiless ? 0 : Number(headers.get("content-length") ?? 0);
    const bodyStart = headEnd + 4;
    if (this.received.length < bodyStart + length) return null;
    const bytes = this.received.subarray(bodyStart, bodyStart + length);
    this.received = this.received.subarray(bodyStart + length);
    return { status, headers, body: bytes.toString("utf8"), bytes };
  }
}
