import type { Cache } from "../../cache/cache.ts";
import type { NewValue } from "../../cache/changes.ts";
import type { MutationContext } from "../../cache/pipeline.ts";
import type { Condition, PutOutcome } from "../../engine/engine.ts";
import { asAwaitable } from "../../model/completion.ts";
import { holdsJson, JSON_ATTRIBUTES, MAX_VALUE_BYTES } from "../../model/entry.ts";
import { Glob } from "../../model/glob.ts";
import { isJson } from "../../model/json-grammar.ts";
import { type Awaitable, after } from "../../runtime/awaitable.ts";
import { InFlight } from "../../runtime/byte-budget.ts";
import type { ThreadTelemetry } from "../../telemetry/node-telemetry.ts";
import { ApiError } from "../transport/api-error.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import type { Answer } from "../transport/handler.ts";
import { JSON_HEADERS, sendJson } from "../transport/json-answer.ts";
import { readKey, shortened, textOf } from "./body-members.ts";
import { CODINGS, type Coding, codingOf, Decoder } from "./content-coding.ts";
import { type AnswerParts, EntryAnswer, type EntryDemand, sendDecoded, WHOLE_ENTRY } from "./entry-answer.ts";
import { EntryHead } from "./entry-head.ts";
import { PartBuffer } from "./entry-parts.ts";
import { isPresent, JsonObjectScanner, readSafeInteger } from "./json-scan.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { LateReads } from "./late-read.ts";
import { LateWrites } from "./late-write.ts";
import { carrierFor, contextOf } from "./mutation-context.ts";
import { MISSED, NOT_FOUND, requireSuccess, sendStored, sendSuccess, tooLarge } from "./outcomes.ts";
import { PatchAnswer } from "./patch-answer.ts";
import { type PeerGate, requirePeer } from "./peer-routes.ts";
import { conditionOf, refuseCondition } from "./preconditions.ts";
import { isFlagSet, type Query } from "./query.ts";
import { refuseTags } from "./tags.ts";
import { parseJsonTtl, parseTtl } from "./ttl.ts";
import { storedAttributes, ValueTypes } from "./value-type.ts";

const DEFAULT_PAGE_KEYS = 100;
const MAX_PAGE_KEYS = 10_000;

export interface EntryRoutesOptions {
  readonly cache: Cache;
  readonly nowMs: () => number;
  readonly telemetry: ThreadTelemetry | null;
  readonly peerGate: PeerGate | null;
  /** Whether entries with a TTL are answered with `max-age`. */
  readonly tellsMaxAge: boolean;
}

/** The routes of entries. */
export class EntryRoutes {
  private key = new KeyBuffer();
  private readonly scanner = new JsonObjectScanner();
  private answer: EntryAnswer;
  private readonly lateReads: LateReads;
  private readonly lateWrites = new LateWrites();
  /** Told of the next write, if that is answered later. */
  private lateWrite = this.lateWrites.take();

  private readonly cache: Cache;
  private readonly parts: AnswerParts;
  private readonly peerGate: PeerGate | null;
  private readonly telemetry: ThreadTelemetry | null;

  constructor({ cache, nowMs, telemetry, peerGate, tellsMaxAge }: EntryRoutesOptions) {
    this.cache = cache;
    this.peerGate = peerGate;
    this.telemetry = telemetry;
    this.parts = {
      nowMs,
      head: new EntryHead(tellsMaxAge ? "max-age" : "no-cache"),
      types: new ValueTypes(),
      decoder: new Decoder(),
      partBuffer: new PartBuffer(),
    };
    this.answer = new EntryAnswer(this.parts);
    this.lateReads = new LateReads(this.parts, telemetry);
  }

  /** Decodes the key from the path of the current request. Throws `BadKeyError`. */
  keyAt(request: HttpRequest, start: number, end: number): void {
    this.key.decodePath(request.buffer, start, end);
  }

  get(request: HttpRequest, response: HttpResponse, query: Query): Answer {
    const isPlain = query.size === 0 && !request.isConditional;
    return this.read(request, response, isPlain ? WHOLE_ENTRY : demandOf(request, query, { headOnly: false }));
  }

  head(request: HttpRequest, response: HttpResponse, query: Query): Answer {
    return this.read(request, response, demandOf(request, query, { headOnly: true }));
  }

  post(request: HttpRequest, response: HttpResponse, query: Query): Answer {
    const { body, bodyStart, bodyEnd } = request;
    const { scanner } = this;
    scanner.scan(body, bodyStart, bodyEnd);
    readKey(body, scanner.key, this.key);
    if (!isPresent(scanner.value)) {
      throw new ApiError(400, "ERR_NO_VALUE", 'the body has no "value": send {"key": …, "value": …}');
    }
    refuseTags(textOf(body, scanner.tags));
    const ttlMs = parseJsonTtl(textOf(body, scanner.ttl));
    const value = { source: body, start: scanner.value.start, end: scanner.value.end, attributes: JSON_ATTRIBUTES };
    return this.store(request, response, { key: this.key, value, ttlMs, query });
  }

  put(request: HttpRequest, response: HttpResponse, query: Query): Answer {
    if (request.header("content-range") !== null) {
      const message = "a part of a value can't be put (Content-Range): send the whole value";
      throw new ApiError(400, "ERR_CONTENT_RANGE", message);
    }
    const coding = putCoding(request.header("content-encoding"));
    const attributes = storedAttributes(request.header("content-type"), coding);
    const ttlMs = parseTtl(query.get("ttl") ?? null);
    if (coding !== null && holdsJson(attributes)) {
      return this.putDecoded(request, response, coding, { key: this.key.copy(), ttlMs, query });
    }
    const { body: source, bodyStart: start, bodyEnd: end } = request;
    if (holdsJson(attributes)) requireJson(source, start, end);
    return this.store(request, response, { key: this.key, value: { source, start, end, attributes }, ttlMs, query });
  }

  private async putDecoded(
    request: HttpRequest,
    response: HttpResponse,
    coding: Coding,
    put: Omit<Put, "value">,
  ): Promise<void> {
    const { body, bodyStart, bodyEnd } = request;
    const { budget } = response;
    const decoded = await this.parts.decoder.decode(coding, body.subarray(bodyStart, bodyEnd), budget);
    if (decoded === null) {
      const message = `the body is not ${coding}, as its Content-Encoding says, or has more than ${MAX_VALUE_BYTES} bytes`;
      throw new ApiError(400, "ERR_BAD_ENCODING", message);
    }
    const { bytes: source, countedBytes } = decoded;
    try {
      requireJson(source, 0, source.length);
      const value = { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
      const context = this.admit(request, put.key, value, put.query);
      await this.storeNow(response, { ...put, value }, conditionOf(request), context);
    } finally {
      budget.giveBack(InFlight.Answers, countedBytes);
    }
  }

  /**
   * `POST /api/cache/gossip-invalidate?key=…&replicated=true`, which peers that run the original ServCache (Go) send
   * after a put.
   */
  gossipInvalidate(request: HttpRequest, response: HttpResponse, query: Query): Awaitable<void> {
    requirePeer(request, this.peerGate);
    const encoded = Buffer.from(encodeURIComponent(query.get("key") ?? ""));
    this.key.decodePath(encoded, 0, encoded.length);
    return after(this.cache.gossipInvalidate(this.key), () => sendSuccess(response));
  }

  patch(request: HttpRequest, response: HttpResponse, query: Query): Awaitable<void> {
    const { body, bodyStart, bodyEnd } = request;
    const { scanner } = this;
    scanner.scan(body, bodyStart, bodyEnd);
    refuseTags(textOf(body, scanner.tags));
    const ttl = textOf(body, scanner.ttl);
    const counts = isPresent(scanner.increment);
    if ((ttl === null) !== counts) {
      throw new ApiError(400, "ERR_BAD_PATCH", 'send either {"ttl": "10m"} or {"increment": 1}');
    }
    const context = this.contextOf(request, query);
    if (counts) return this.increment(request, response, context);
    return this.touch(request, response, parseJsonTtl(ttl), context);
  }

  delete(request: HttpRequest, response: HttpResponse, query: Query): Awaitable<void> {
    const condition = conditionOf(request);
    this.telemetry?.deleted(this.key);
    return after(this.cache.delete(this.key, condition, this.contextOf(request, query)), (outcome) => {
      requireSuccess(outcome, condition);
      sendSuccess(response);
    });
  }

  deleteMany(request: HttpRequest, response: HttpResponse, query: Query): Awaitable<void> {
    refuseCondition(request);
    refuseTags(query.get("tag") ?? null);
    const pattern = query.get("pattern");
    const context = this.contextOf(request, query);
    const deleted =
      pattern === undefined ? this.cache.clear(context) : this.cache.deleteMatching(Glob.parse(pattern), context);
    return after(deleted, (count) => {
      response.sendText(200, JSON_HEADERS, `{"status":"success","deleted":${count}}`);
    });
  }

  keys(query: Query, response: HttpResponse): Awaitable<void> {
    const pattern = query.get("pattern") ?? "";
    const cursor = query.get("cursor") ?? "";
    const page = this.cache.keys({
      pattern: pattern === "" ? null : Glob.parse(pattern),
      cursor: cursor === "" ? null : cursor,
      limit: pageLimit(query.get("limit") ?? ""),
    });
    return after(page, (found) => sendJson(response, 200, found));
  }

  private read(request: HttpRequest, response: HttpResponse, demand: EntryDemand): Answer {
    const { cache } = this;
    if (!cache.readsAtOnce && !this.isTraced) {
      const late = this.lateReads.take(this.key, demand);
      if (cache.getLater(late.key, late)) return late;
      this.lateReads.giveBack(late);
    }
    const { answer, key } = this;
    answer.prepare(request, response, key, demand);
    const found = cache.get(key, answer);
    if (found === true) return this.hit(response, key, answer);
    if (found === false) return this.missed(request, response, key, demand);
    // A late answer must share neither its sink nor its key with the requests in between.
    this.answer = new EntryAnswer(this.parts);
    this.key = new KeyBuffer();
    return found.then((wasFound) =>
      wasFound ? this.hit(response, key, answer) : this.missed(request, response, key, demand),
    );
  }

  private hit(response: HttpResponse, key: KeyBuffer, answer: EntryAnswer): Awaitable<void> {
    this.telemetry?.hit(key, answer.valueBytes);
    return finish(response, answer);
  }

  private missed(
    ...[request, response, key, demand]: [HttpRequest, HttpResponse, KeyBuffer, EntryDemand]
  ): Awaitable<void> {
    this.telemetry?.miss(key);
    if (!this.cache.loads) throw MISSED;
    const own = key === this.key ? key.copy() : key;
    const answer = new EntryAnswer(this.parts);
    answer.prepare(request, response, own, demand);
    const carrier = carrierFor(request, this.telemetry?.tracer ?? null);
    return this.cache.load(own, answer, carrier).then((wasFound) => {
      if (!wasFound) throw MISSED;
      response.wasLoaded = true;
      return finish(response, answer);
    });
  }

  private store(request: HttpRequest, response: HttpResponse, { key, value, ttlMs, query }: Put): Answer {
    const condition = conditionOf(request);
    const context = this.admit(request, key, value, query);
    if (this.isTraced) return this.storeNow(response, { key, value, ttlMs }, condition, context);
    const write = this.lateWrite;
    write.condition = condition;
    const outcome = this.cache.put(key, value, ttlMs, condition, context, write);
    if (outcome !== null) return sendStored(response, outcome, condition);
    this.lateWrite = this.lateWrites.take();
    return write;
  }

  /** Counts a put. Throws `ApiError` if it is too large, or claims without right to come from a peer. */
  private admit(request: HttpRequest, key: KeyBuffer, { start, end }: NewValue, query: Query): MutationContext {
    if (end - start > MAX_VALUE_BYTES) {
      throw tooLarge(`the value has ${end - start} bytes: send at most ${MAX_VALUE_BYTES} under one key`);
    }
    this.telemetry?.set(key, end - start);
    return this.contextOf(request, query);
  }

  private storeNow(
    response: HttpResponse,
    { key, value, ttlMs }: Omit<Put, "query">,
    condition: Condition | null,
    context: MutationContext,
  ): Awaitable<void> {
    const stored = asAwaitable<PutOutcome>((told) => this.cache.put(key, value, ttlMs, condition, context, told));
    return after(stored, (outcome) => sendStored(response, outcome, condition));
  }

  /** A traced request uses promises, along which the tracer follows it. */
  private get isTraced(): boolean {
    return (this.telemetry?.tracer?.active ?? null) !== null;
  }

  private touch(
    request: HttpRequest,
    response: HttpResponse,
    ttlMs: number,
    context: MutationContext,
  ): Awaitable<void> {
    const key = this.key.copy();
    const answer = new PatchAnswer(request, response, key, { ...this.parts, head: new EntryHead("no-store") });
    const condition = conditionOf(request);
    return after(this.cache.touch(key, ttlMs, condition, context), (outcome) => {
      requireSuccess(outcome, condition);
      if (outcome === "absent") throw NOT_FOUND;
      return after(this.cache.get(key, answer), (found) => {
        if (!found) throw NOT_FOUND;
        answer.end();
      });
    });
  }

  private contextOf(request: HttpRequest, query: Query): MutationContext {
    return contextOf(request, query, this.peerGate, this.telemetry?.tracer ?? null);
  }

  private increment(request: HttpRequest, response: HttpResponse, context: MutationContext): Awaitable<void> {
    const delta = readSafeInteger(request.body, this.scanner.increment);
    if (delta === null) {
      const text = shortened(textOf(request.body, this.scanner.increment) ?? "");
      const message = `increment is ${text}: send a whole number up to 2^53, such as 1 or -5`;
      throw new ApiError(400, "ERR_BAD_INCREMENT", message);
    }
    const key = this.key.toString();
    const condition = conditionOf(request);
    return after(this.cache.increment(this.key, delta, condition, context), (outcome) => {
      requireSuccess(outcome.kind, condition);
      if (outcome.kind !== "incremented") {
        throw new ApiError(409, "ERR_CONFLICT", "a newer write is stored and nothing was counted: try again");
      }
      sendJson(response, 200, { key, value: outcome.value });
    });
  }
}

/** A parsed POST or PUT. */
interface Put {
  readonly key: KeyBuffer;
  readonly value: NewValue;
  readonly ttlMs: number;
  readonly query: Query;
}

function finish(response: HttpResponse, answer: EntryAnswer): Awaitable<void> {
  const decoded = answer.end();
  if (decoded !== null) return decoded.then((late) => sendDecoded(response, late));
}

function demandOf(request: HttpRequest, query: Query, { headOnly }: { headOnly: boolean }): EntryDemand {
  return {
    raw: isFlagSet(query, "raw"),
    headOnly,
    match: request.header("if-match"),
    noneMatch: request.header("if-none-match"),
  };
}

/**
 * Throws `ApiError` (415) for an unknown coding, because the value could not be decoded for clients that do not accept
 * it.
 */
function putCoding(header: string | null): Coding | null {
  const coding = codingOf(header);
  if (coding !== undefined) return coding;
  const known = CODINGS.join(", ");
  const message = `Content-Encoding is ${JSON.stringify(shortened(header ?? ""))}: send one of ${known}, or none`;
  throw new ApiError(415, "ERR_UNKNOWN_CODING", message, `Accept-Encoding: ${known}\r\n`);
}

function requireJson(source: Buffer, start: number, end: number): void {
  if (isJson(source, start, end)) return;
  const message = "the body is not JSON, as its Content-Type says: correct one of them";
  throw new ApiError(400, "ERR_INVALID_JSON", message);
}

function pageLimit(text: string): number {
  if (text === "") return DEFAULT_PAGE_KEYS;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_PAGE_KEYS) {
    throw new ApiError(
      400,
      "ERR_BAD_LIMIT",
      `limit is ${JSON.stringify(shortened(text))}: send a number from 1 to ${MAX_PAGE_KEYS}`,
    );
  }
  return limit;
}
