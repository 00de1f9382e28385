import { Operation } from "../../telemetry/operations.ts";
import { type ApiError, sendError } from "./api-error.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";

/** The connection that an answer returns to. */
export interface AnswerRecipient {
  readonly awaitedRequest: HttpRequest;
  /** Opens the writer for the answer. It belongs to the answer until `closeAnswer`, in the same turn. */
  openAnswer(): HttpResponse;
  closeAnswer(): void;
  /** Reports a bug that prevents the answer, and writes a 500 instead. To be called before `closeAnswer`. */
  answerBug(error: unknown): void;
}

/** Observes the outcome of late answers. */
export interface AnswerObserver {
  answered(answer: LateAnswer, response: HttpResponse): void;
}

/**
 * Returned by a handler that answers later without a promise. The response passed to the handler is not used: the
 * answer is written in one go, into the writer that the connection provides then.
 */
export abstract class LateAnswer {
  /** Set by the connection as soon as the handler has returned. */
  recipient: AnswerRecipient | null = null;
  observer: AnswerObserver | null = null;
  /** For the observer: the time of the request, and its operation. */
  observedFromMs = 0;
  observedAs = Operation.Other;
  private response: HttpResponse | null = null;

  /** The writer, opened by the first call. */
  protected open(): HttpResponse {
    if (this.recipient === null) throw new Error("an answer came before its connection waited for it");
    this.response ??= this.recipient.openAnswer();
    return this.response;
  }

  protected get request(): HttpRequest {
    if (this.recipient === null) throw new Error("an answer came before its connection waited for it");
    return this.recipient.awaitedRequest;
  }

  /** Returns the writer unused, because the answer takes longer than this turn. */
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

  /**
   * To be called last. Returns this object to its pool first, because the connection continues with its next request at
   * once.
   */
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

  /** Converts an error to an answer. Throws a bug. */
  protected abstract explain(error: unknown): ApiError;

  /** Returns this object to its pool. */
  protected abstract giveBack(): void;
}
