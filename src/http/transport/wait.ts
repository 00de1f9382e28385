import type { ConnectionContext } from "./connection-context.ts";

/** What an idle connection waits for, and since when: the next request, the rest of its head, or its end. */
export class Wait {
  /** A head has begun to arrive. */
  isInHead = false;
  /** Only empty lines have arrived since the last request. */
  private isResting = true;
  private sinceMs: number;

  constructor(private readonly context: Pick<ConnectionContext, "monotonicMs" | "sweepIntervalMs">) {
    this.sinceMs = context.monotonicMs;
  }

  begin(): void {
    this.sinceMs = this.context.monotonicMs;
  }

  /** All received bytes are processed. Empty lines alone do not keep a connection open. */
  rest(): void {
    this.isInHead = false;
    if (!this.isResting) this.begin();
    this.isResting = true;
  }

  /** A part of a head has arrived. */
  beginHead(): void {
    if (!this.isInHead) this.begin();
    this.isInHead = true;
  }

  endHead(): void {
    this.isInHead = false;
    this.isResting = false;
  }

  /** The start may be noted up to one sweep interval late, so that no connection is cut early. */
  hasLasted(limitMs: number): boolean {
    return this.context.monotonicMs - this.sinceMs >= limitMs + this.context.sweepIntervalMs;
  }
}
