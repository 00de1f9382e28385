import type { Cache, MutationContext } from "../cache/cache.ts";
import { Glob } from "../cache/glob.ts";
import { type Awaitable, JSON_CONTENT_TYPE, MAX_CONTENT_TYPE_BYTES, MAX_VALUE_BYTES } from "../engine/engine.ts";
import type { ThreadTelemetry } from "../telemetry/node-telemetry.ts";
import { after } from "./after.ts";
import { ApiError } from "./api-error.ts";
import { readKey, shortened, textOf } from "./body-members.ts";
import { EntryAnswer, type EntryDemand, WHOLE_ENTRY } from "./entry-answer.ts";
import { conditionOf, refuseCondition } from "./etag.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import type { Answer } from "./handler.ts";
import { isJson, isPresent, JsonObjectScanner, readSafeInteger } from "./json-scan.ts";
import { KeyBuffer } from "./key-buffer.ts";
import { LateReads } from "./late-read.ts";
import { LateWrites } from "./late-write.ts";
import { carrierFor, contextOf } from "./mutation-context.ts";
import { NOT_FOUND, requireSuccess, sendStored, sendSuccess, tooLarge } from "./outcomes.ts";
import { PatchAnswer } from "./patch-answer.ts";
import { type PeerGate, requirePeer } from "./peer-routes.ts";
import { isFlagSet, queryOf, refuseUnknown } from "./query.ts";
import { refuseTags } from "./tags.ts";
import { parseJsonTtl, parseTtl } from "./ttl.ts";

const JSON_HEADERS = "Content-Type: application/json\r\n";
const DEFAULT_CONTENT_TYPE = "application/octet-stream";
const CONTENT_TYPE = /^[\x20-\x7e]+$/;
const DEFAULT_PAGE_KEYS = 100;
const MAX_PAGE_KEYS = 10_000;
const DELETE_MANY_PARAMETERS = ["pattern", "tag", "replicated"];

export interface EntryRoutesOptions {
  readonly cache: Cache;
  readonly nowMs: () => number;
  readonly telemetry: ThreadTelemetry | null;
  readonly peerGate: PeerGate | null;
}

/** The calls about entries. */
export class EntryRoutes {
  private key = new KeyBuffer();
  private readonly scanner = new JsonObjectScanner();
  private answer: EntryAnswer;
  private readonly lateReads: LateReads;
  private readonly lateWrites = new LateWrites();

  private readonly cache: Cache;
  private readonly nowMs: () => number;
  private readonly peerGate: PeerGate | null;
  private readonly telemetry: ThreadTelemetry | null;

  constructor({ cache, nowMs, telemetry, peerGate }: EntryRoutesOptions) {
    this.cache = cache;
    this.peerGate = peerGate;
    this.nowMs = nowMs;
    this.telemetry = telemetry;
    this.answer = new EntryAnswer(nowMs);
    this.lateReads = new LateReads(nowMs, telemetry);
  }

  /** Reads the key of the request that is being handled from its path. Throws `BadKeyError`. */
  keyAt(request: HttpRequest, start: number, end: number): void {
    this.key.decodePath(request.buffer, start, end);
  }

  get(request: HttpRequest, response: HttpResponse): Answer {
    const noneMatch = request.header("if-none-match");
    if (request.queryStart < 0 && noneMatch === null) return this.read(request, response, WHOLE_ENTRY);
    return this.read(request, response, { raw: wantsRaw(request), headOnly: false, noneMatch });
  }

  head(request: HttpRequest, response: HttpResponse): Answer {
    return this.read(request, response, {
      raw: wantsRaw(request),
      headOnly: true,
      noneMatch: request.header("if-none-match"),
    });
  }

  post(request: HttpRequest, response: HttpResponse): Answer {
    const { body, bodyStart, bodyEnd } = request;
    const { scanner } = this;
    scanner.scan(body, bodyStart, bodyEnd);
    readKey(body, scanner.key, this.key);
    if (!isPresent(scanner.value)) {
      throw new ApiError(400, "ERR_NO_VALUE", 'the body has no "value": send {"key": …, "value": …}');
    }
    refuseTags(textOf(body, scanner.tags));
    const ttlMs = parseJsonTtl(textOf(body, scanner.ttl));
    const value = { source: body, start: scanner.value.start, end: scanner.value.end, contentType: JSON_CONTENT_TYPE };
    return this.store(request, response, value, ttlMs);
  }

  put(request: HttpRequest, response: HttpResponse): Answer {
    const { body, bodyStart, bodyEnd } = request;
    const contentType = storedContentType(request.header("content-type"));
    if (contentType === JSON_CONTENT_TYPE) {
      if (!isJson(body, bodyStart, bodyEnd)) {
        const message = "the body is not JSON, as its Content-Type says: correct one of them";
        throw new ApiError(400, "ERR_INVALID_JSON", message);
      }
    }
    const ttlMs = parseTtl(queryOf(request).get("ttl") ?? null);
    return this.store(request, response, { source: body, start: bodyStart, end: bodyEnd, contentType }, ttlMs);
  }

  /** `POST /api/cache/gossip-invalidate?key=…&replicated=true`, which peers of the original's kind send after a put. */
  gossipInvalidate(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    requirePeer(request, this.peerGate);
    const encoded = Buffer.from(encodeURIComponent(queryOf(request).get("key") ?? ""));
    this.key.decodePath(encoded, 0, encoded.length);
    return after(this.cache.gossipInvalidate(this.key), () => sendSuccess(response));
  }

  patch(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    const { body, bodyStart, bodyEnd } = request;
    const { scanner } = this;
    scanner.scan(body, bodyStart, bodyEnd);
    refuseTags(textOf(body, scanner.tags));
    const ttl = textOf(body, scanner.ttl);
    const counts = isPresent(scanner.increment);
    if ((ttl === null) !== counts) {
      throw new ApiError(400, "ERR_BAD_PATCH", 'send either {"ttl": "10m"} or {"increment": 1}');
    }
    if (counts) return this.increment(request, response);
    return this.touch(request, response, parseJsonTtl(ttl));
  }

  delete(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    const condition = conditionOf(request);
    this.telemetry?.deleted(this.key);
    return after(this.cache.delete(this.key, condition, this.contextOf(request)), (outcome) => {
      requireSuccess(outcome, condition);
      sendSuccess(response);
    });
  }

  deleteMany(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    refuseCondition(request);
    const query = queryOf(request);
    refuseUnknown(query, DELETE_MANY_PARAMETERS);
    refuseTags(query.get("tag") ?? null);
    const pattern = query.get("pattern");
    const context = this.contextOf(request);
    const deleted =
      pattern === undefined ? this.cache.clear(context) : this.cache.deleteMatching(Glob.parse(pattern), context);
    return after(deleted, (count) => {
      response.sendText(200, JSON_HEADERS, `{"status":"success","deleted":${count}}`);
    });
  }

  keys(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    const query = queryOf(request);
    const pattern = query.get("pattern") ?? "";
    const cursor = query.get("cursor") ?? "";
    const page = this.cache.keys({
      pattern: pattern === "" ? null : Glob.parse(pattern),
      cursor: cursor === "" ? null : cursor,
      limit: pageLimit(query.get("limit") ?? ""),
    });
    return after(page, (found) => response.sendText(200, JSON_HEADERS, JSON.stringify(found)));
  }

  private read(request: HttpRequest, response: HttpResponse, demand: EntryDemand): Answer {
    const { cache } = this;
    if (!cache.readsAtOnce && !this.isTraced) {
      const late = this.lateReads.take(this.key, demand);
      if (cache.getLater(late.key, late)) return late;
      this.lateReads.giveBack(late);
    }
    const { answer, key } = this;
    answer.prepare(response, key, demand);
    const found = cache.get(key, answer);
    if (found === true) return this.hit(key, answer);
    if (found === false) return this.missed(request, response, key, demand);
    // What answers later must not share its sink, nor its key, with the requests in between.
    this.answer = new EntryAnswer(this.nowMs);
    this.key = new KeyBuffer();
    return found.then((wasFound) => (wasFound ? this.hit(key, answer) : this.missed(request, response, key, demand)));
  }

  private hit(key: KeyBuffer, answer: EntryAnswer): void {
    this.telemetry?.hit(key, answer.valueBytes);
    answer.end();
  }

  private missed(
    ...[request, response, key, demand]: [HttpRequest, HttpResponse, KeyBuffer, EntryDemand]
  ): Awaitable<void> {
    this.telemetry?.miss(key);
    if (!this.cache.loads) throw NOT_FOUND;
    const own = key === this.key ? key.copy() : key;
    const answer = new EntryAnswer(this.nowMs);
    answer.prepare(response, own, demand);
    const carrier = carrierFor(request, this.telemetry?.tracer ?? null);
    return this.cache.load(own, answer, carrier).then((wasFound) => {
      if (!wasFound) throw NOT_FOUND;
      response.wasLoaded = true;
      answer.end();
    });
  }

  private store(
    request: HttpRequest,
    response: HttpResponse,
    value: { source: Buffer; start: number; end: number; contentType: string },
    ttlMs: number,
  ): Answer {
    if (value.end - value.start > MAX_VALUE_BYTES) {
      throw tooLarge(`the value has ${value.end - value.start} bytes: send at most ${MAX_VALUE_BYTES} under one key`);
    }
    const condition = conditionOf(request);
    this.telemetry?.set(this.key, value.end - value.start);
    const context = this.contextOf(request);
    if (condition === null && !this.cache.writesAtOnce && !this.isTraced) {
      const late = this.lateWrites.take();
      const outcome = this.cache.putLater(this.key, value, ttlMs, context, late);
      if (outcome === null) return late;
      this.lateWrites.giveBack(late);
      if (outcome !== undefined) return sendStored(response, outcome, condition);
    }
    const outcome = this.cache.put(this.key, value, ttlMs, condition, context);
    return outcome instanceof Promise
      ? outcome.then((late) => sendStored(response, late, condition))
      : sendStored(response, outcome, condition);
  }

  /** A traced request takes the way by promises, along which the tracer follows it. */
  private get isTraced(): boolean {
    return (this.telemetry?.tracer?.active ?? null) !== null;
  }

  private touch(request: HttpRequest, response: HttpResponse, ttlMs: number): Awaitable<void> {
    const key = this.key.copy();
    const answer = new PatchAnswer(response, key, this.nowMs);
    const condition = conditionOf(request);
    return after(this.cache.touch(key, ttlMs, condition, this.contextOf(request)), (outcome) => {
      requireSuccess(outcome, condition);
      if (outcome === "absent") throw NOT_FOUND;
      return after(this.cache.get(key, answer), (found) => {
        if (!found) throw NOT_FOUND;
        answer.end();
      });
    });
  }

  private contextOf(request: HttpRequest): MutationContext {
    return contextOf(request, this.peerGate, this.telemetry?.tracer ?? null);
  }

  private increment(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    const delta = readSafeInteger(request.body, this.scanner.increment);
    if (delta === null) {
      const text = shortened(textOf(request.body, this.scanner.increment) ?? "");
      const message = `increment is ${text}: send a whole number up to 2^53, such as 1 or -5`;
      throw new ApiError(400, "ERR_BAD_INCREMENT", message);
    }
    const key = this.key.toString();
    const condition = conditionOf(request);
    return after(this.cache.increment(this.key, delta, condition, this.contextOf(request)), (outcome) => {
      requireSuccess(outcome.kind, condition);
      if (outcome.kind !== "incremented") {
        throw new ApiError(409, "ERR_CONFLICT", "a newer write is stored and nothing was counted: try again");
      }
      response.sendText(200, JSON_HEADERS, JSON.stringify({ key, value: outcome.value }));
    });
  }
}

function wantsRaw(request: HttpRequest): boolean {
  return request.queryStart >= 0 && isFlagSet(queryOf(request), "raw");
}

/** JSON in any spelling and with any parameters is kept as JSON; anything else as it was named. */
function storedContentType(header: string | null): string {
  const contentType = header?.trim() ?? "";
  if (contentType === "") return DEFAULT_CONTENT_TYPE;
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType === JSON_CONTENT_TYPE) return JSON_CONTENT_TYPE;
  if (contentType.length > MAX_CONTENT_TYPE_BYTES || !CONTENT_TYPE.test(contentType)) {
    const message = `Content-Type has ${contentType.length} characters: send up to ${MAX_CONTENT_TYPE_BYTES}, ASCII only`;
    throw new ApiError(400, "ERR_BAD_CONTENT_TYPE", message);
  }
  return contentType;
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
