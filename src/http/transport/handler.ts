import type { HttpRequest, HttpResponse } from "./exchange.ts";
import type { LateAnswer } from "./late-answer.ts";

/**
 * The result of a handler: an answer that is complete, or comes later by a promise, which never rejects, or (on the hot
 * path) by a pooled object.
 */
export type Answer = void | Promise<void> | LateAnswer;

/** The REST surface. */
export type HttpHandler = (request: HttpRequest, response: HttpResponse) => Answer;
