/** One client of a node: a connection that asks one thing after the other, and never twice. */
import { type RawAnswer, RawClient } from "../support/raw-client.ts";

/** A call that takes longer than this has failed: its outcome is unknown. */
export const CALL_LIMIT_MS = 10_000;

/** No answer came: what was asked may have happened, or happen yet. */
export class NoAnswerError extends Error {}

export class SoakClient {
  #connection: RawClient | null = null;

  constructor(private readonly port: number) {}

  /** Opens a connection if there is none. False = nobody listens: nothing was asked. */
  async connect(): Promise<boolean> {
    if (this.#connection !== null) return true;
    try {
      this.#connection = await RawClient.open(this.port);
      return true;
    } catch {
      return false;
    }
  }

  /** Throws `NoAnswerError`; the connection is given up then. */
  async call(method: string, target: string, body = ""): Promise<RawAnswer> {
    const connection = this.#connection;
    if (connection === null) throw new Error("call connect first");
    const limit = Promise.withResolvers<never>();
    const timer = setTimeout(() => limit.reject(new NoAnswerError(`no answer in ${CALL_LIMIT_MS} ms`)), CALL_LIMIT_MS);
    try {
      const length = Buffer.byteLength(body);
      const head = `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`;
      const answered = connection.send(Buffer.from(`${head}${body}`)).then(() => connection.answer());
      const answer = await Promise.race([answered, limit.promise]);
      if (answer.headers.get("connection")?.toLowerCase() === "close") this.close();
      return answer;
    } catch (cause) {
      this.close();
      throw cause instanceof NoAnswerError ? cause : new NoAnswerError("the connection is gone", { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#connection?.socket.destroy();
    this.#connection = null;
  }
}
