import type { Operation } from "../telemetry/operations.ts";
import type { RequestCounts } from "../telemetry/request-counts.ts";
import type { Answer, HttpHandler, HttpRequest, HttpResponse } from "./exchange.ts";
import { type AnswerObserver, LateAnswer } from "./late-answer.ts";

/** What a handler has to tell for its requests to be counted. */
export interface Countable {
  handle(request: HttpRequest, response: HttpResponse): Answer;
  /** Of the request that was handed over last. */
  readonly operation: Operation;
}

const BUG_STATUS = 500;

/** Counts requests by operation and result, with the time from the whole request to the whole answer. */
export function measured(api: Countable, counts: RequestCounts, monotonicMs: () => number): HttpHandler {
  const observer = new LateCounter(counts, monotonicMs);
  return (request, response) => {
    const startedMs = monotonicMs();
    let answer: Answer;
    try {
      answer = api.handle(request, response);
    } catch (error) {
      counts.add(api.operation, BUG_STATUS, false, monotonicMs() - startedMs);
      throw error;
    }
    if (answer instanceof Promise) return countLater(counts, api.operation, answer, response, startedMs, monotonicMs);
    if (answer instanceof LateAnswer) {
      answer.observer = observer;
      answer.observedAs = api.operation;
      answer.observedFromMs = startedMs;
      return answer;
    }
    counts.add(api.operation, response.status, response.wasLoaded, monotonicMs() - startedMs);
  };
}

class LateCounter implements AnswerObserver {
  constructor(
    private readonly counts: RequestCounts,
    private readonly monotonicMs: () => number,
  ) {}

  answered({ observedAs, observedFromMs }: LateAnswer, { status, wasLoaded }: HttpResponse): void {
    if (observedAs !== null) this.counts.add(observedAs, status, wasLoaded, this.monotonicMs() - observedFromMs);
  }
}

async function countLater(
  ...[counts, operation, answer, response, startedMs, monotonicMs]: [
    RequestCounts,
    Operation,
    Promise<void>,
    HttpResponse,
    number,
    () => number,
  ]
): Promise<void> {
  let status = BUG_STATUS;
  try {
    await answer;
    status = response.status;
  } finally {
    counts.add(operation, status, response.wasLoaded, monotonicMs() - startedMs);
  }
}
