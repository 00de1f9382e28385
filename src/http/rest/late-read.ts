import type { EntryInfo, LateReader } from "../../engine/engine.ts";
import type { ThreadTelemetry } from "../../telemetry/node-telemetry.ts";
import {
  type AnswerParts,
  type DecodedAnswer,
  EntryAnswer,
  type EntryDemand,
  sendDecoded,
  WHOLE_ENTRY,
} from "./entry-answer.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { MISSED } from "./outcomes.ts";
import { AnswerPool, PooledAnswer } from "./pooled-answer.ts";

/** The reads of one thread that wait for their engine; each is reused when it is answered. */
export class LateReads extends AnswerPool<LateRead> {
  constructor(
    private readonly parts: AnswerParts,
    private readonly telemetry: ThreadTelemetry | null,
  ) {
    super();
  }

  take(key: KeyBuffer, demand: EntryDemand): LateRead {
    const read = this.takeAny();
    read.key.copyFrom(key);
    read.demand = demand;
    return read;
  }

  protected make(): LateRead {
    return new LateRead(this, new EntryAnswer(this.parts), this.telemetry);
  }
}

/** A GET or HEAD whose entry the engine returns later. */
export class LateRead extends PooledAnswer implements LateReader {
  readonly key = new KeyBuffer();
  demand = WHOLE_ENTRY;
  /** Why `begin` refused the value: there was no room for it. */
  private failure: unknown = null;

  constructor(
    owner: LateReads,
    private readonly answer: EntryAnswer,
    private readonly telemetry: ThreadTelemetry | null,
  ) {
    super(owner);
  }

  get target(): Buffer {
    return this.answer.target;
  }

  get offset(): number {
    return this.answer.offset;
  }

  begin(entry: EntryInfo): boolean {
    const response = this.open();
    this.answer.prepare(this.request, response, this.key, this.demand);
    this.failure = null;
    try {
      return this.answer.begin(entry);
    } catch (error) {
      this.failure = error;
      return false;
    }
  }

  done(isFound: boolean): void {
    if (!isFound) {
      this.telemetry?.miss(this.key);
      this.failed(MISSED);
      return;
    }
    try {
      if (this.failure !== null) throw this.failure;
      this.telemetry?.hit(this.key, this.answer.valueBytes);
      const decoded = this.answer.end();
      if (decoded !== null) {
        void this.sendLater(decoded);
        return;
      }
    } catch (error) {
      this.fail(error);
    }
    this.close();
  }

  private async sendLater(decoded: Promise<DecodedAnswer>): Promise<void> {
    this.letGo();
    try {
      const answer = await decoded;
      sendDecoded(this.open(), answer);
    } catch (error) {
      this.fail(error);
    }
    this.close();
  }
}
