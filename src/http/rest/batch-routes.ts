import type { Cache } from "../../cache/cache.ts";
import type { NewValue } from "../../cache/changes.ts";
import type { MutationContext } from "../../cache/pipeline.ts";
import { LARGE_VALUE_BYTES, type PutOutcome } from "../../engine/engine.ts";
import { asAwaitable } from "../../model/completion.ts";
import { JSON_ATTRIBUTES, MAX_VALUE_BYTES } from "../../model/entry.ts";
import { type Awaitable, after } from "../../runtime/awaitable.ts";
import { ByteBudget } from "../../runtime/byte-budget.ts";
import type { ThreadTelemetry } from "../../telemetry/node-telemetry.ts";
import type { ApiError } from "../transport/api-error.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import { JSON_HEADERS } from "../transport/json-answer.ts";
import { BatchOperations, MAX_OPERATIONS } from "./batch-operations.ts";
import { AnswerRoom, BatchWriter, MAX_ANSWER_BYTES, MOST_KEPT_BYTES } from "./batch-writer.ts";
import { readKey, shortened, textOf } from "./body-members.ts";
import { asApiError, invalid } from "./error-mapping.ts";
import { isPresent, JsonObjectScanner, type JsonRange } from "./json-scan.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { contextOf } from "./mutation-context.ts";
import { NOT_FOUND, requireSuccess, tooLarge } from "./outcomes.ts";
import type { PeerGate } from "./peer-routes.ts";
import { refuseCondition } from "./preconditions.ts";
import type { Query } from "./query.ts";
import { refuseTags } from "./tags.ts";
import { parseJsonTtl } from "./ttl.ts";

const RESULTS_START = '{"results":[';
const RESULTS_END = "]}";
const GET = Buffer.from('"get"');
const SET = Buffer.from('"set"');
const DELETE = Buffer.from('"delete"');
const ANSWER_FULL = tooLarge(
  `the earlier results leave no room below ${MAX_ANSWER_BYTES} bytes of values: get this key in another call`,
);
/** The usual size of all results, and of a single one; longer ones grow. */
const RESULTS_BYTES = 64 * 1024;
const RESULT_BYTES = 512;
/** The most consecutive gets that are announced to the engine together. */
const GETS_TOGETHER = 100;

export interface BatchRoutesOptions {
  readonly cache: Cache;
  readonly telemetry: ThreadTelemetry | null;
  readonly peerGate: PeerGate | null;
  /** The budget for results; null = no budget. */
  readonly inFlight: ByteBudget | null;
}

const UNBOUNDED_BYTES = 2 ** 31 - 1;

/**
 * `POST /api/batch`: many operations in one request, each with its own result, in order. A batch is not a transaction:
 * a failed operation does not stop the others.
 */
export class BatchRoutes {
  private readonly operations = new BatchOperations();
  private readonly scanner = new JsonObjectScanner(this.operations);
  private readonly key = new KeyBuffer();
  private readonly expected = Array.from({ length: GETS_TOGETHER }, () => new KeyBuffer());
  private readonly budget: ByteBudget;
  private readonly shared: BatchWriter;

  private readonly cache: Cache;
  private readonly peerGate: PeerGate | null;
  private readonly telemetry: ThreadTelemetry | null;

  constructor({ cache, telemetry, peerGate, inFlight }: BatchRoutesOptions) {
    this.budget = inFlight ?? ByteBudget.create(UNBOUNDED_BYTES);
    this.shared = new BatchWriter(RESULTS_BYTES, new AnswerRoom(), this.budget);
    this.cache = cache;
    this.peerGate = peerGate;
    this.telemetry = telemetry;
  }

  run(request: HttpRequest, response: HttpResponse, query: Query): Awaitable<void> {
    refuseCondition(request);
    const { body, bodyStart, bodyEnd } = request;
    this.operations.reset();
    this.scanner.scan(body, bodyStart, bodyEnd);
    const { count } = this.operations;
    if (count < 0) {
      const message = 'the body has no list "operations": send {"operations": [{"op": "get", "key": …}, …]}';
      throw invalid("ERR_BAD_BATCH", message);
    }
    if (count > MAX_OPERATIONS) {
      throw tooLarge(`the batch has ${count} operations: send them in batches of at most ${MAX_OPERATIONS}`);
    }
    const context = contextOf(request, query, this.peerGate, this.telemetry?.tracer ?? null);
    return this.runsHere(body, bodyEnd - bodyStart)
      ? this.runHere(body, response, context)
      : this.runLater(body, response, context);
  }

  /** Whether every operation can be answered without a promise. */
  private runsHere(body: Buffer, bodyBytes: number): boolean {
    const { cache, operations } = this;
    if (cache.writesAtOnce) return bodyBytes < LARGE_VALUE_BYTES || !this.setsLarge();
    if (!cache.readsAtOnce || cache.loads) return false;
    for (let number = 0; number < operations.count; number++) {
      if (operations.select(number) && !isOp(body, operations.op, GET)) return false;
    }
    return true;
  }

  private setsLarge(): boolean {
    const { operations } = this;
    for (let number = 0; number < operations.count; number++) {
      if (!operations.select(number)) continue;
      if (operations.value.end - operations.value.start >= LARGE_VALUE_BYTES) return true;
    }
    return false;
  }

  /**
   * Runs the operations one after the other, each appending its result. Consecutive gets are announced to the engine
   * first.
   */
  private runHere(body: Buffer, response: HttpResponse, context: MutationContext): void {
    const { operations, shared } = this;
    shared.reset();
    shared.add(RESULTS_START);
    for (let number = 0; number < operations.count; ) {
      const gets = this.expectGets(body, number);
      for (let at = 0; at < gets; at++) {
        shared.open();
        this.getHere(this.expectedKey(at), shared);
      }
      number += gets;
      if (gets === 0) this.perform(body, number++, shared, context);
    }
    sendResults(response, shared);
  }

  /** Runs the operations concurrently, those of one key in order; each has its own writer. */
  private async runLater(body: Buffer, response: HttpResponse, context: MutationContext): Promise<void> {
    const room = new AnswerRoom();
    const { budget } = this;
    const writers = Array.from({ length: this.operations.count }, () => new BatchWriter(RESULT_BYTES, room, budget));
    const turns: Turns = new Map();
    await Promise.all(writers.map((writer, number) => this.perform(body, number, writer, context, turns)));
    const all = new BatchWriter(RESULTS_BYTES, room, budget);
    try {
      all.add(RESULTS_START);
      for (const writer of writers) all.append(writer);
      sendResults(response, all);
    } finally {
      for (const writer of [...writers, all]) writer.release();
    }
  }

  /** Reads the keys of the consecutive gets that start at an operation; returns their number. */
  private expectGets(body: Buffer, first: number): number {
    const { operations } = this;
    const most = Math.min(GETS_TOGETHER, operations.count - first);
    let gets = 0;
    while (gets < most && operations.select(first + gets) && isOp(body, operations.op, GET)) {
      try {
        readKey(body, operations.key, this.expectedKey(gets));
      } catch {
        // `perform` reaches this operation next, and answers the error in its key.
        break;
      }
      gets++;
    }
    if (gets > 0) this.cache.expectGets(this.expected, gets);
    return gets;
  }

  private expectedKey(at: number): KeyBuffer {
    const key = this.expected[at];
    if (key === undefined) throw new Error("more gets than keys");
    return key;
  }

  private perform(
    body: Buffer,
    number: number,
    writer: BatchWriter,
    context: MutationContext,
    turns: Turns | null = null,
  ): Awaitable<void> {
    const { operations } = this;
    let key: string | null = null;
    const failed = (error: unknown) => writer.instead(failure(asApiError(error), key));
    writer.open();
    try {
      if (!operations.select(number)) {
        throw invalid("ERR_BAD_OPERATION", 'the operation is not an object: send {"op": …, "key": …}');
      }
      readKey(body, operations.key, this.key);
      key = this.key.toString();
      const answer = isOp(body, operations.op, GET)
        ? this.getInTurn(writer, key, turns)
        : this.mutateInTurn(this.changeIn(body), writer, key, context, turns);
      return answer instanceof Promise ? answer.catch(failed) : answer;
    } catch (error) {
      failed(error);
    }
  }

  private getInTurn(writer: BatchWriter, key: string, turns: Turns | null): Awaitable<void> {
    const own = this.cache.readsAtOnce && !this.cache.loads && turns === null ? this.key : this.key.copy();
    return turns === null ? this.get(own, writer) : takeTurn(turns, key, () => this.get(own, writer));
  }

  private mutateInTurn(
    change: Change,
    writer: BatchWriter,
    key: string,
    context: MutationContext,
    turns: Turns | null,
  ): Awaitable<void> {
    if (turns === null || !turns.has(key)) {
      const answer = this.mutate(this.key, change, writer, key, context);
      if (answer instanceof Promise) turns?.set(key, answer);
      return answer;
    }
    // The buffers of the request and of this object are reused before this operation's turn comes.
    const ownKey = this.key.copy();
    const ownChange = detached(change);
    return takeTurn(turns, key, () => this.mutate(ownKey, ownChange, writer, key, context));
  }

  private getHere(key: KeyBuffer, writer: BatchWriter): void {
    try {
      this.get(key, writer);
    } catch (error) {
      writer.instead(failure(asApiError(error), key.toString()));
    }
  }

  private get(key: KeyBuffer, writer: BatchWriter): Awaitable<void> {
    writer.prepare(key);
    const found = this.cache.get(key, writer);
    if (found instanceof Promise || (!found && this.cache.loads)) return this.getLater(key, writer, found);
    this.count(key, writer, found);
    finishGet(writer, key, found);
  }

  private async getLater(key: KeyBuffer, writer: BatchWriter, found: Awaitable<boolean>): Promise<void> {
    try {
      const isHit = await found;
      this.count(key, writer, isHit);
      finishGet(writer, key, isHit || (this.cache.loads && (await this.cache.load(key, writer))));
    } catch (error) {
      writer.instead(failure(asApiError(error), key.toString()));
    }
  }

  private count(key: KeyBuffer, writer: BatchWriter, isHit: boolean): void {
    if (isHit) this.telemetry?.hit(key, writer.valueBytes);
    else this.telemetry?.miss(key);
  }

  /** The mutation of the selected operation. Throws `ApiError`. */
  private changeIn(body: Buffer): Change {
    const { op, value, ttl, tags } = this.operations;
    if (isOp(body, op, DELETE)) return DELETED;
    if (!isOp(body, op, SET)) {
      throw invalid(
        "ERR_BAD_OPERATION",
        `op is ${shortened(textOf(body, op) ?? "missing")}: send "get", "set" or "delete"`,
      );
    }
    if (!isPresent(value)) throw invalid("ERR_NO_VALUE", 'the operation has no "value": send one, any JSON');
    refuseTags(textOf(body, tags));
    const bytes = value.end - value.start;
    if (bytes > MAX_VALUE_BYTES) throw tooLarge(`the value has ${bytes} bytes: send at most ${MAX_VALUE_BYTES}`);
    const newValue = { source: body, start: value.start, end: value.end, attributes: JSON_ATTRIBUTES };
    return { kind: "set", value: newValue, ttlMs: parseJsonTtl(textOf(body, ttl)) };
  }

  private mutate(
    key: KeyBuffer,
    change: Change,
    writer: BatchWriter,
    name: string,
    context: MutationContext,
  ): Awaitable<void> {
    const done = () => writer.instead(JSON.stringify({ status: 200, key: name }));
    if (change.kind === "delete") {
      this.telemetry?.deleted(key);
      return after(this.cache.delete(key, null, context), done);
    }
    this.telemetry?.set(key, change.value.end - change.value.start);
    const { value, ttlMs } = change;
    const stored = asAwaitable<PutOutcome>((told) => this.cache.put(key, value, ttlMs, null, context, told));
    return after(stored, (outcome) => {
      requireSuccess(outcome, null);
      done();
    });
  }
}

/** The last operation in progress of each key of a batch. */
type Turns = Map<string, Promise<void>>;

type Change = { readonly kind: "delete" } | { readonly kind: "set"; readonly value: NewValue; readonly ttlMs: number };

const DELETED: Change = { kind: "delete" };

/** Runs `work` after the previous operation of the key has settled. */
function takeTurn(turns: Turns, key: string, work: () => Awaitable<void>): Awaitable<void> {
  const answer = turns.get(key)?.then(work, work) ?? work();
  if (answer instanceof Promise) turns.set(key, answer);
  return answer;
}

function detached(change: Change): Change {
  if (change.kind === "delete") return change;
  const { source, start, end, attributes } = change.value;
  const own = Buffer.from(source.subarray(start, end));
  return { ...change, value: { source: own, start: 0, end: own.length, attributes } };
}

function finishGet(writer: BatchWriter, key: KeyBuffer, found: boolean): void {
  if (!found) writer.instead(failure(NOT_FOUND, key.toString()));
  else if (writer.hasRefused) writer.instead(failure(ANSWER_FULL, key.toString()));
  else writer.end();
}

function isOp(body: Buffer, { start, end }: JsonRange, name: Buffer): boolean {
  if (end - start !== name.length) return false;
  for (let at = 0; at < name.length; at++) {
    if (body[start + at] !== name[at]) return false;
  }
  return true;
}

function failure(error: ApiError, key: string | null): string {
  const named = key === null ? {} : { key };
  return JSON.stringify({ status: error.status, ...named, code: error.code, error: error.message });
}

function sendResults(response: HttpResponse, results: BatchWriter): void {
  results.add(RESULTS_END);
  if (results.length > MOST_KEPT_BYTES) response.sendPart(200, JSON_HEADERS, results.length, results.handOver());
  else response.sendBytes(200, JSON_HEADERS, results.text, 0, results.length);
}
