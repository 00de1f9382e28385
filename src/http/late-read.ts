import type { EntryInfo, LateReader } from "../engine/engine.ts";
import type { ThreadTelemetry } from "../telemetry/node-telemetry.ts";
import { asApiError, sendError } from "./api-error.ts";
import { EntryAnswer, type EntryDemand, WHOLE_ENTRY } from "./entry-answer.ts";
import type { HttpResponse } from "./exchange.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { LateAnswer } from "./late-answer.ts";
import { NOT_FOUND } from "./outcomes.ts";

/** More would only be kept after a crowd has gone. */
const MAX_SPARE = 256;

/** The reads of one thread that wait for their engine; each is used again when it is answered. */
export class LateReads {
  private readonly spare: LateRead[] = [];

  constructor(
    private readonly nowMs: () => number,
    private readonly telemetry: ThreadTelemetry | null,
  ) {}

  take(key: KeyBuffer, demand: EntryDemand): LateRead {
    const read = this.spare.pop() ?? new LateRead(this, new EntryAnswer(this.nowMs), this.telemetry);
    read.key.copyFrom(key);
    read.demand = demand;
    return read;
  }

  giveBack(read: LateRead): void {
    if (this.spare.length < MAX_SPARE) this.spare.push(read);
  }
}

/** A GET or HEAD whose entry the engine gives later. */
export class LateRead extends LateAnswer implements LateReader {
  readonly key = new KeyBuffer();
  demand = WHOLE_ENTRY;
  private response: HttpResponse | null = null;

  constructor(
    private readonly owner: LateReads,
    private readonly answer: EntryAnswer,
    private readonly telemetry: ThreadTelemetry | null,
  ) {
    super();
  }

  get target(): Buffer {
    return this.answer.target;
  }

  get offset(): number {
    return this.answer.offset;
  }

  begin(entry: EntryInfo): boolean {
    this.answer.prepare(this.open(), this.key, this.demand);
    return this.answer.begin(entry);
  }

  found(): void {
    try {
      this.telemetry?.hit(this.key, this.answer.valueBytes);
      this.answer.end();
      this.close();
    } catch (error) {
      this.failed(error);
    }
  }

  missed(): void {
    this.telemetry?.miss(this.key);
    this.failed(NOT_FOUND);
  }

  failed(error: unknown): void {
    const response = this.open();
    const { recipient } = this;
    if (recipient === null) throw new Error("an answer came before its connection waited for it");
    try {
      sendError(recipient.awaitedRequest, response, asApiError(error), null);
    } catch (bug) {
      recipient.answerBug(bug);
    }
    this.close();
  }

  private open(): HttpResponse {
    if (this.recipient === null) throw new Error("an answer came before its connection waited for it");
    this.response ??= this.recipient.openAnswer();
    return this.response;
  }

  /** Gives this object back first: the connection goes on with its next request at once. */
  private close(): void {
    const { recipient, observer, response } = this;
    if (recipient === null || response === null) return;
    observer?.answered(this, response);
    this.recipient = null;
    this.observer = null;
    this.response = null;
    this.owner.giveBack(this);
    recipient.closeAnswer();
  }
}
