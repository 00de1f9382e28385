import type { HttpRequest, HttpResponse } from "./exchange.ts";
import type { LateAnswer } from "./late-answer.ts";

/** Given at once, or later: by a promise, which never rejects, or (on the hot path) by an object that is used again. */
export type Answer = void | Promise<void> | LateAnswer;

/** The REST surface. */
export type HttpHandler = (request: HttpRequest, response: HttpResponse) => Answer;
