import type { Condition, PutOutcome } from "../../engine/engine.ts";
import type { Completion } from "../../model/completion.ts";
import type { ApiError } from "../transport/api-error.ts";
import { LateAnswer } from "../transport/late-answer.ts";
import { asApiError } from "./error-mapping.ts";
import { sendStored } from "./outcomes.ts";

/** The most pooled writes; more would only be kept after a burst. */
const MAX_SPARE = 256;

/** The writes of one thread that wait for their commit; each is reused when it is answered. */
export class LateWrites {
  private readonly spare: LateWrite[] = [];

  take(): LateWrite {
    return this.spare.pop() ?? new LateWrite(this);
  }

  giveBack(write: LateWrite): void {
    if (this.spare.length < MAX_SPARE) this.spare.push(write);
  }
}

/** A POST or PUT that is answered later: when it is durable, or the engine has it. */
export class LateWrite extends LateAnswer implements Completion<PutOutcome> {
  condition: Condition | null = null;

  constructor(private readonly owner: LateWrites) {
    super();
  }

  done(outcome: PutOutcome): void {
    try {
      sendStored(this.open(), outcome, this.condition);
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
