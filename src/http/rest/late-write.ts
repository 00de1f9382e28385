import type { Condition, PutOutcome } from "../../engine/engine.ts";
import type { Completion } from "../../model/completion.ts";
import { sendStored } from "./outcomes.ts";
import { AnswerPool, PooledAnswer } from "./pooled-answer.ts";

/** The writes of one thread that wait for their commit; each is reused when it is answered. */
export class LateWrites extends AnswerPool<LateWrite> {
  take(): LateWrite {
    return this.takeAny();
  }

  protected make(): LateWrite {
    return new LateWrite(this);
  }
}

/** A POST or PUT that is answered later: when it is durable, or the engine has it. */
export class LateWrite extends PooledAnswer implements Completion<PutOutcome> {
  condition: Condition | null = null;

  done(outcome: PutOutcome): void {
    try {
      sendStored(this.open(), outcome, this.condition);
    } catch (error) {
      this.fail(error);
    }
    this.close();
  }
}
