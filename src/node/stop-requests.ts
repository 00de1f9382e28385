/** What asks a process to stop. `launcher-gone`: whoever started it with a channel (`scripts/bun.mjs`) has ended. */
export type StopRequest = "SIGTERM" | "SIGINT" | "launcher-gone";

type Listener = (request: StopRequest) => void;

/** Listens from the first moment of a process on: what comes before anybody wants to know is kept for them. */
export class StopRequests {
  readonly #early: StopRequest[] = [];
  #listener: Listener = (request) => this.#early.push(request);

  constructor(source: Pick<NodeJS.EventEmitter, "on">) {
    source.on("SIGTERM", () => this.#listener("SIGTERM"));
    source.on("SIGINT", () => this.#listener("SIGINT"));
    source.on("disconnect", () => this.#listener("launcher-gone"));
  }

  onRequest(listener: Listener): void {
    this.#listener = listener;
    for (const request of this.#early.splice(0)) listener(request);
  }
}
