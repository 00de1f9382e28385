import { Operation } from "../../telemetry/operations.ts";
import { type ApiError, sendError } from "./api-error.ts";
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
  private response: HttpResponse | null = null;

  /** The writer, opened at the first call. */
  protected open(): HttpResponse {
    if (this.recipient === null) throw new Error("an answer came before its connection waited for it");
    this.response ??= this.recipient.openAnswer();
    return this.response;
  }

  protected get request(): HttpRequest {
    if (this.recipient === null) throw new Error("an answer came before its connection waited for it");
    return this.recipient.awaitedRequest;
  }

  /** Gives the writer back unused: the answer takes longer than this turn. */
  protected letGo(): void {
    this.response = null;
  }

  protected fail(error: unknown): void {
    const response = this.open();
    const { recipient } = this;
    if (recipient === null) return;
    try {
      sendError(recipient.awaitedRequest, response, this.explain(error), null);
    } catch (bug) {
      recipient.answerBug(bug);
    }
  }

  /** To be called last. Gives this object back first: the connection goes on with its next request at once. */
  protected close(): void {
    const { recipient, observer, response } = this;
    if (recipient === null || response === null) return;
    observer?.answered(this, response);
    this.recipient = null;
    this.observer = null;
    this.response = null;
    this.giveBack();
    recipient.closeAnswer();
  }

  /** What an error means to the client. Throws what is a bug. */
  protected abstract explain(error: unknown): ApiError;

  /** It may be used again. */
  protected abstract giveBack(): void;
}
