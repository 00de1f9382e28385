import type { EntryInfo, LateReader } from "../../engine/engine.ts";
import type { ThreadTelemetry } from "../../telemetry/node-telemetry.ts";
import type { ApiError } from "../transport/api-error.ts";
import { LateAnswer } from "../transport/late-answer.ts";
import {
  type AnswerParts,
  type DecodedAnswer,
  EntryAnswer,
  type EntryDemand,
  sendDecoded,
  WHOLE_ENTRY,
} from "./entry-answer.ts";
import { asApiError } from "./error-mapping.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { MISSED } from "./outcomes.ts";

/** The most pooled reads; more would only be kept after a burst. */
const MAX_SPARE = 256;

/** The reads of one thread that wait for their engine; each is reused when it is answered. */
export class LateReads {
  private readonly spare: LateRead[] = [];

  constructor(
    private readonly parts: AnswerParts,
    private readonly telemetry: ThreadTelemetry | null,
  ) {}

  take(key: KeyBuffer, demand: EntryDemand): LateRead {
    const read = this.spare.pop() ?? new LateRead(this, new EntryAnswer(this.parts), this.telemetry);
    read.key.copyFrom(key);
    read.demand = demand;
    return read;
  }

  giveBack(read: LateRead): void {
    if (this.spare.length < MAX_SPARE) this.spare.push(read);
  }
}

/** A GET or HEAD whose entry the engine returns later. */
export class LateRead extends LateAnswer implements LateReader {
  readonly key = new KeyBuffer();
  demand = WHOLE_ENTRY;
  /** Why `begin` refused the value: there was no room for it. */
  private failure: unknown = null;

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

  failed(error: unknown): void {
    this.fail(error);
    this.close();
  }

  protected explain(error: unknown): ApiError {
    return asApiError(error);
  }

  protected giveBack(): void {
    this.owner.giveBack(this);
  }
}
