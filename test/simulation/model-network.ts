import type { PeerAddress, PeerRequest, PeerResponse, Transport } from "../../src/replication/transport.ts";
import type { Random } from "./random.ts";
import type { WorldClock } from "./world-clock.ts";

export interface NetworkFaults {
  /** Of each direction, at most, in ms. */
  readonly delayMs: number;
  /** Chances per call. */
  readonly lostRequest: number;
  readonly lostResponse: number;
  readonly duplicate: number;
  /** How much later the copy may come, in ms. */
  readonly duplicateLateMs: number;
}

/** What becomes of one call: its request or its answer is lost, it comes late, twice, or twice and the second time late. */
export type CallFault = "request-lost" | "answer-lost" | "late" | "doubled" | "doubled-late";

const LATE_MS = 2500;

export type Receive = (from: string, request: PeerRequest) => Promise<PeerResponse>;

/** Who hears whom, and when. Two copies of one request may both arrive, in any order. */
export class ModelNetwork {
  readonly #receivers = new Map<string, Receive>();
  readonly #cuts = new Set<string>();
  faults: NetworkFaults;
  /** Calls so far. */
  calls = 0;
  /** The fault of a call, by its number from 1 on; null = that of chance. */
  faultOf: (call: number) => CallFault | null = () => null;

  constructor(
    private readonly clock: WorldClock,
    private readonly random: Random,
    faults: NetworkFaults,
  ) {
    this.faults = faults;
  }

  /** `receive` null = nobody is there. */
  listen(url: string, receive: Receive | null): void {
    if (receive === null) this.#receivers.delete(url);
    else this.#receivers.set(url, receive);
  }

  /** One direction alone: what A sends doesn't reach B. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  heal(from: string, to: string): void {
    this.#cuts.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#cuts.clear();
  }

  transportOf(from: string): Transport {
    return { call: (peer, request) => this.#call(from, peer, request) };
  }

  #call(from: string, peer: PeerAddress, request: PeerRequest): Promise<PeerResponse> {
    const { random, faults } = this;
    this.calls += 1;
    const planned = this.faultOf(this.calls);
    const kept = { ...request, body: request.body === null ? null : Buffer.from(request.body) };
    const { promise, resolve, reject } = Promise.withResolvers<PeerResponse>();
    // What is lost hangs until the caller's own time is over, or fails at once.
    const isSilent = random.chance(0.5);
    const fail = () => {
      if (!isSilent) reject(new Error("connection reset"));
    };
    const deliver = (answer: ((response: PeerResponse) => void) | null) => {
      const receive = this.#receivers.get(peer.url);
      if (receive === undefined || this.#cuts.has(`${from}>${peer.url}`)) {
        fail();
        return;
      }
      receive(from, kept).then((response) => {
        const isLost =
          planned === "answer-lost" || random.chance(this.faults.lostResponse) || this.#cuts.has(`${peer.url}>${from}`);
        if (isLost) fail();
        else if (answer !== null) this.clock.after(this.#delayMs(), () => answer(response));
      }, fail);
    };
    const lateMs = planned === "late" ? LATE_MS : 0;
    if (planned === "request-lost" || random.chance(faults.lostRequest)) this.clock.after(this.#delayMs(), fail);
    else this.clock.after(this.#delayMs() + lateMs, () => deliver(resolve));
    if (planned === "doubled") this.clock.after(this.#delayMs(), () => deliver(null));
    if (planned === "doubled-late") this.clock.after(this.#delayMs() + LATE_MS, () => deliver(null));
    if (random.chance(faults.duplicate)) {
      this.clock.after(this.#delayMs() + random.next() * faults.duplicateLateMs, () => deliver(null));
    }
    return promise;
  }

  #delayMs(): number {
    return Math.ceil(this.random.next() * this.faults.delayMs);
  }
}
