import type { ConnectionContext } from "./connection-context.ts";

/** What a connection waits for between requests, and since when: the next one, the rest of its head, or its end. */
export class Wait {
  /** A head has begun to arrive. */
  isInHead = false;
  /** Nothing but empty lines has come since the last request. */
  private isResting = true;
  private sinceMs: number;

  constructor(private readonly context: Pick<ConnectionContext, "nowMs" | "sweepIntervalMs">) {
    this.sinceMs = context.nowMs;
  }

  begin(): void {
    this.sinceMs = this.context.nowMs;
  }

  /** Nothing is left of what came. Empty lines alone don't keep a connection. */
  rest(): void {
    this.isInHead = false;
    if (!this.isResting) this.begin();
    this.isResting = true;
  }

  /** A part of a head has come. */
  beginHead(): void {
    if (!this.isInHead) this.begin();
    this.isInHead = true;
  }

  endHead(): void {
    this.isInHead = false;
    this.isResting = false;
  }

  /** The beginning may have been noted up to one sweep interval behind: nobody is cut early for it. */
  hasLasted(limitMs: number): boolean {
    return this.context.nowMs - this.sinceMs >= limitMs + this.context.sweepIntervalMs;
  }
}
