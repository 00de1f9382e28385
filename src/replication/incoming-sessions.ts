/** The state of the nodes that send to this one: one session per sender, for the lifetime of the sender's process. */
import { toVersion, type Version } from "../model/stamp.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";

/** The most senders remembered; the one that was silent longest is dropped. */
const MOST_SESSIONS = 1000;
/** The most finished batches above a missing one; a sender has far fewer in flight. */
export const MOST_BEYOND = 1024;
/** The most answers kept for repeated batches. */
const MOST_ANSWERS = 64;

export class IncomingSession {
  /** All mutations of the sender up to this version are here, or must not be served here. */
  watermark: Version = toVersion(0);
  /** The sender's clock minus ours when it last sent a message, in ms; includes the transit time. */
  skewMs = 0;
  /** By the monotonic clock. */
  heardAtMs = Number.POSITIVE_INFINITY;
  #acknowledged: number;
  readonly #beyond = new Set<number>();
  readonly #answers = new BoundedMap<number, Promise<Buffer>>(MOST_ANSWERS);

  /** `next`: all batches below it were settled before this session. */
  constructor(
    readonly incarnation: number,
    next: number,
    /** The sender's newest stamp in its first message after this node's start; null = no message yet. */
    public newestAtStart: Version | null,
  ) {
    this.#acknowledged = next - 1;
  }

  /** All batches up to this one are done. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Whether a batch below a finished one is missing. */
  get isGapped(): boolean {
    return this.#beyond.size > 0;
  }

  /** Whether so many batches are missing that the sender must first say which of them will still come. */
  isAhead(number: number): boolean {
    return this.#beyond.size >= MOST_BEYOND && number > this.#acknowledged + 1;
  }

  /** Batches below `next` will not come any more. */
  startAt(next: number): void {
    if (next - 1 > this.#acknowledged) this.#acknowledged = next - 1;
    this.#closeUp();
  }

  /** Processes a batch once: a repeated one gets the first answer. Null = it was done, and its answer is forgotten. */
  once(number: number, work: () => Promise<Buffer>): Promise<Buffer> | null {
    const known = this.#answers.get(number);
    if (known !== undefined) return known;
    if (number <= this.#acknowledged || this.#beyond.has(number)) return null;
    const answer = work();
    this.#answers.set(number, answer);
    answer.then(
      () => this.#done(number),
      () => this.#answers.delete(number),
    );
    return answer;
  }

  #done(number: number): void {
    if (number > this.#acknowledged) this.#beyond.add(number);
    this.#closeUp();
  }

  #closeUp(): void {
    for (const number of this.#beyond) if (number <= this.#acknowledged) this.#beyond.delete(number);
    while (this.#beyond.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
  }
}

export class IncomingSessions {
  readonly #sessions = new Map<number, IncomingSession>();

  get(senderId: number): IncomingSession | null {
    return this.#sessions.get(senderId) ?? null;
  }

  all(): Iterable<IncomingSession> {
    return this.#sessions.values();
  }

  /** The session of a sender that says hello; a new one if the sender has restarted. */
  greet(senderId: number, incarnation: number, next: number): IncomingSession {
    const known = this.#sessions.get(senderId);
    if (known?.incarnation === incarnation) {
      known.startAt(next);
      return known;
    }
    const session = new IncomingSession(incarnation, next, known?.newestAtStart ?? null);
    this.#sessions.set(senderId, session);
    if (this.#sessions.size > MOST_SESSIONS) this.#forgetSilent();
    return session;
  }

  #forgetSilent(): void {
    let silent: number | null = null;
    let sinceMs = Number.POSITIVE_INFINITY;
    for (const [id, { heardAtMs }] of this.#sessions) {
      if (heardAtMs < sinceMs) [silent, sinceMs] = [id, heardAtMs];
    }
    if (silent !== null) this.#sessions.delete(silent);
  }
}
