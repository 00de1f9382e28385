/** Late answers of the REST API whose objects are reused: a request that waits allocates nothing. */
import type { ApiError } from "../transport/api-error.ts";
import { LateAnswer } from "../transport/late-answer.ts";
import { asApiError } from "./error-mapping.ts";

/** The most pooled answers; more would only be kept after a burst. */
const MAX_SPARE = 256;

/** The answers of one kind that one thread reuses. */
export abstract class AnswerPool<T extends PooledAnswer> {
  private readonly spare: T[] = [];

  /** A spare answer, or a new one. */
  protected takeAny(): T {
    return this.spare.pop() ?? this.make();
  }

  giveBack(answer: T): void {
    if (this.spare.length < MAX_SPARE) this.spare.push(answer);
  }

  protected abstract make(): T;
}

/** A late answer that returns to its pool when it is given. */
export abstract class PooledAnswer extends LateAnswer {
  constructor(private readonly pool: { giveBack(answer: PooledAnswer): void }) {
    super();
  }

  /** Answers with an error. */
  failed(error: unknown): void {
    this.fail(error);
    this.close();
  }

  protected explain(error: unknown): ApiError {
    return asApiError(error);
  }

  protected giveBack(): void {
    this.pool.giveBack(this);
  }
}
