import { Operation } from "../telemetry/operations.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";

/** Where an answer goes that comes later: the connection. */
export interface AnswerRecipient {
  readonly awaitedRequest: HttpRequest;
  /** The writer, ready for the answer. It belongs to the answer until `closeAnswer`, in the same turn. */
  openAnswer(): HttpResponse;
  closeAnswer(): void;
  /** The answer can't be given because of a bug: reports it, and writes another. Before `closeAnswer`. */
  answerBug(error: unknown): void;
}

/** Who wants to know how an answer that came later turned out. */
export interface AnswerObserver {
  answered(answer: LateAnswer, response: HttpResponse): void;
}

/**
 * What a handler returns when it will answer later and without a promise. The response that the handler got isn't used:
 * the answer is written in one go, into the writer that the connection gives then.
 */
export abstract class LateAnswer {
  /** Set by the connection as soon as the handler has returned. */
  recipient: AnswerRecipient | null = null;
  observer: AnswerObserver | null = null;
  /** For the observer: when the request came, and what it asks for. */
  observedFromMs = 0;
  observedAs = Operation.Other;
}
