/** What this node knows of those who send to it: one session per sender, as long as the sender lives. */
import { toVersion, type Version } from "../model/stamp.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";

/** Senders that are remembered; the one that was silent longest makes way. */
const MOST_SESSIONS = 1000;
/** Batches that are done while one below them is missing: a sender has far fewer under way. */
export const MOST_BEYOND = 1024;
/** Answers that are kept for batches that may come again. */
const MOST_ANSWERS = 64;

export class IncomingSession {
  /** Everything of the sender up to this version is here, or is not to be served here. */
  watermark: Version = toVersion(0);
  /** Clock of the sender minus ours when it was last heard, in ms; with the time of the way. */
  skewMs = 0;
  heardAtMs = 0;
  #acknowledged: number;
  readonly #beyond = new Set<number>();
  readonly #answers = new BoundedMap<number, Promise<Buffer>>(MOST_ANSWERS);

  /** `next`: what is below was settled before this session. */
  constructor(
    readonly incarnation: number,
    next: number,
    /** The sender's newest stamp in what it first said after this node started; null = it has said nothing yet. */
    public newestAtStart: Version | null,
  ) {
    this.#acknowledged = next - 1;
  }

  /** All batches up to this one are done. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Batches above it of which one or more below are missing. */
  get isGapped(): boolean {
    return this.#beyond.size > 0;
  }

  /** Whether so many batches are missing that the sender has to say first which of them still come. */
  isAhead(number: number): boolean {
    return this.#beyond.size >= MOST_BEYOND && number > this.#acknowledged + 1;
  }

  /** What is below `next` will not come any more. */
  startAt(next: number): void {
    if (next - 1 > this.#acknowledged) this.#acknowledged = next - 1;
    this.#closeUp();
  }

  /** Does a batch once: one that comes again gets the answer of the first time. Null = it was done, and is forgotten. */
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

  /** The session of a sender that says hello; a new one where it has started anew. */
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
      if (heardAtMs > 0 && heardAtMs < sinceMs) [silent, sinceMs] = [id, heardAtMs];
    }
    if (silent !== null) this.#sessions.delete(silent);
  }
}
