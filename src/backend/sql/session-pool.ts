/** A bounded set of sessions. Who finds none free waits in line, not longer than its own time. */
import { BackendError } from "../backend.ts";
import { abortError } from "../call-signal.ts";
import { Session, type SessionOptions } from "./session.ts";

export class SessionPool {
  readonly #sessions: Session[] = [];
  readonly #free: Session[] = [];
  readonly #waiting: ((session: Session) => void)[] = [];

  #isClosed = false;

  constructor(
    private readonly options: SessionOptions,
    size: number,
  ) {
    for (let i = 0; i < size; i++) this.#sessions.push(new Session(options));
    this.#free.push(...this.#sessions);
  }

  /** Lends a session to `work`. Throws `BackendError` when none gets free in time. */
  async use<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new BackendError("ERR_BACKEND_UNAVAILABLE", `${this.options.label} is closed`);
    const session = this.#free.pop() ?? (await this.#wait(signal));
    try {
      return await work(session);
    } finally {
      if (this.#isClosed) session.discard();
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(session);
      else next(session);
    }
  }

  /** Cuts what is under way; nothing can be lent after. */
  close(): void {
    this.#isClosed = true;
    for (const session of this.#sessions) session.discard();
  }

  #wait(signal: AbortSignal): Promise<Session> {
    if (signal.aborted) return Promise.reject(abortError(signal, this.options.label));
    return new Promise((resolve, reject) => {
      const take = (session: Session) => {
        signal.removeEventListener("abort", leave);
        resolve(session);
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(abortError(signal, this.options.label));
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(take);
    });
  }
}
