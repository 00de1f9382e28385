import type { Cache } from "../cache/cache.ts";
import { type Awaitable, JSON_CONTENT_TYPE, MAX_VALUE_BYTES } from "../engine/engine.ts";
import { after } from "./after.ts";
import { type ApiError, asApiError, invalid } from "./api-error.ts";
import { BatchWriter } from "./batch-writer.ts";
import { readKey, textOf } from "./body-members.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import { isArray, isObject, isPresent, JsonElements, JsonObjectScanner } from "./json-scan.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { NOT_FOUND, requireSuccess, tooLarge } from "./outcomes.ts";
import { parseJsonTtl } from "./ttl.ts";

const JSON_HEADERS = "Content-Type: application/json\r\n";
const MAX_OPERATIONS = 1_000;
const RESULTS_START = '{"results":[';
const RESULTS_END = "]}";
const GET = Buffer.from('"get"');
const SET = Buffer.from('"set"');
const DELETE = Buffer.from('"delete"');

/**
 * `POST /api/batch`: many operations in one request, each with a result of its own, in order. They are no transaction,
 * and one that fails does not stop the others.
 */
export class BatchRoutes {
  private readonly body = new JsonObjectScanner();
  private readonly operation = new JsonObjectScanner();
  private readonly elements = new JsonElements();
  private readonly key = new KeyBuffer();
  private readonly shared = new BatchWriter();

  constructor(private readonly cache: Cache) {}

  run(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    const { body, bodyStart, bodyEnd } = request;
    this.body.scan(body, bodyStart, bodyEnd);
    const { operations } = this.body;
    if (!isPresent(operations) || !isArray(body, operations)) {
      throw invalid(
        "ERR_BAD_BATCH",
        'the body has no list "operations": send {"operations": [{"op": "get", "key": …}, …]}',
      );
    }
    this.elements.open(body, operations.start, operations.end);
    return this.cache.answersAtOnce ? this.runHere(body, response) : this.runLater(body, response);
  }

  /** Every operation writes its result behind the one before. */
  private runHere(body: Buffer, response: HttpResponse): void {
    const writer = this.shared;
    writer.reset();
    for (let count = 1; this.elements.next(this.operation); count++) {
      requireFew(count);
      const answer = this.perform(body, writer);
      if (answer instanceof Promise) throw new Error("an engine that answers at once gave a promise");
    }
    sendResults(response, writer);
  }

  /** Operations are under way together; each writes for itself. They reach the engine in order. */
  private async runLater(body: Buffer, response: HttpResponse): Promise<void> {
    const writers: BatchWriter[] = [];
    const answers: Awaitable<void>[] = [];
    while (this.elements.next(this.operation)) {
      requireFew(writers.length + 1);
      const writer = new BatchWriter();
      writers.push(writer);
      answers.push(this.perform(body, writer));
    }
    await Promise.all(answers);
    const all = new BatchWriter();
    for (const writer of writers) all.append(writer);
    sendResults(response, all);
  }

  private perform(body: Buffer, writer: BatchWriter): Awaitable<void> {
    let key: string | null = null;
    const failed = (error: unknown) => writer.instead(failure(asApiError(error), key));
    writer.open();
    try {
      if (!isObject(body, this.elements))
        throw invalid("ERR_BAD_OPERATION", 'the operation is not an object: send {"op": …}');
      readKey(body, this.operation.key, this.key);
      if (isOp(body, this.operation, GET)) return this.get(writer);
      key = this.key.toString();
      const answer = this.mutate(body, writer, key);
      return answer instanceof Promise ? answer.catch(failed) : answer;
    } catch (error) {
      failed(error);
    }
  }

  private get(writer: BatchWriter): Awaitable<void> {
    const key = this.cache.answersAtOnce ? this.key : this.key.copy();
    writer.prepare(key);
    const found = this.cache.get(key, writer);
    if (found === true) return writer.end();
    const missing = () => writer.instead(failure(NOT_FOUND, key.toString()));
    if (found === false) return missing();
    return found.then(
      (wasFound) => (wasFound ? writer.end() : missing()),
      (error) => writer.instead(failure(asApiError(error), key.toString())),
    );
  }

  private mutate(body: Buffer, writer: BatchWriter, key: string): Awaitable<void> {
    const { operation } = this;
    const done = () => writer.instead(JSON.stringify({ status: 200, key }));
    if (isOp(body, operation, DELETE)) {
      return after(this.cache.delete(this.key, null), done);
    }
    if (!isOp(body, operation, SET)) {
      const op = textOf(body, operation.op) ?? "missing";
      throw invalid("ERR_BAD_OPERATION", `op is ${op}: send "get", "set" or "delete"`);
    }
    const { start, end } = operation.value;
    if (!isPresent(operation.value)) throw invalid("ERR_NO_VALUE", 'the operation has no "value": send one, any JSON');
    if (end - start > MAX_VALUE_BYTES)
      throw tooLarge(`the value has ${end - start} bytes: send at most ${MAX_VALUE_BYTES}`);
    const value = { source: body, start, end, contentType: JSON_CONTENT_TYPE };
    return after(this.cache.put(this.key, value, parseJsonTtl(textOf(body, operation.ttl)), null), (outcome) => {
      requireSuccess(outcome);
      done();
    });
  }
}

function isOp(body: Buffer, operation: JsonObjectScanner, name: Buffer): boolean {
  const { start, end } = operation.op;
  if (end - start !== name.length) return false;
  for (let at = 0; at < name.length; at++) {
    if (body[start + at] !== name[at]) return false;
  }
  return true;
}

function failure(error: ApiError, key: string | null): string {
  return JSON.stringify({
    status: error.status,
    ...(key === null ? {} : { key }),
    code: error.code,
    error: error.message,
  });
}

function requireFew(count: number): void {
  if (count <= MAX_OPERATIONS) return;
  throw tooLarge(`the batch has more than ${MAX_OPERATIONS} operations: send them in several batches`);
}

function sendResults(response: HttpResponse, results: BatchWriter): void {
  response.beginBody(200, JSON_HEADERS, RESULTS_START.length + results.length + RESULTS_END.length);
  response.position += response.buffer.latin1Write(RESULTS_START, response.position);
  response.position += results.text.copy(response.buffer, response.position, 0, results.length);
  response.position += response.buffer.latin1Write(RESULTS_END, response.position);
  response.endBody();
}
