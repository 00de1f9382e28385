/**
 * A backend behind HTTP, in the original product's form: `GET {base}/{key}` answers the bare JSON value or 404,
 * `POST {base}/{key}` takes it, `DELETE {base}/{key}` removes it. What is not JSON goes with its own content type.
 */

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { type CacheValue, JSON_CONTENT_TYPE, MAX_CONTENT_TYPE_BYTES, MAX_VALUE_BYTES } from "../../model/entry.ts";
import { ResponseTooLargeError, readBody } from "../../runtime/read-body.ts";
import { traceHeaders } from "../../telemetry/trace/trace-context.ts";
import {
  type Backend,
  BackendError,
  type BackendRow,
  type CallOptions,
  type LoadResult,
  type RowResult,
} from "../backend.ts";
import { abortError, callSignal } from "../call-signal.ts";
import { connectionFailure } from "./connection-error.ts";
import { UrlSecrets } from "./secrets.ts";
import { batchAnswers, batchBody, type RowAnswer } from "./write-batch.ts";

type Fetch = (url: string, init: BunFetchRequestInit) => Promise<Response>;

export interface HttpBackendOptions {
  /** `http(s)://host/path`; user and password become basic authentication. */
  readonly baseUrl: URL;
  readonly fetch: Fetch;
  /** Rows of one `write` that are under way at the same time. */
  readonly writeConcurrency: number;
  /** PEM of the authority that signed the server's certificate; null = the system's. */
  readonly tlsCa: string | null;
  /** Where, below the base, writes are taken together; null = one call a row. See `write-batch.ts`. */
  readonly batchPath: string | null;
  /** `text/html` is a value, not the page of a proxy or a login in its place. */
  readonly allowsHtml: boolean;
}

/** How much of an answer that refuses a row is kept as the reason, in characters. */
const REASON_LIMIT = 300;

/** An answer to a write says little; a longer one is not read. */
const WRITE_ANSWER_LIMIT_BYTES = 64 * 1024;
/** For each row of a batch. */
const BATCH_ANSWER_LIMIT_BYTES = 1024;

/** 4xx that speak of the moment and not of the row: timeout, too early, too many requests. */
const PASSING_4XX = new Set([408, 425, 429]);

export class HttpBackend implements Backend {
  readonly name = "http";
  readonly loadBatchKeys = 1;
  readonly problem = "";
  readonly #base: string;
  readonly #label: string;
  /** Nothing is to come compressed: what it is when it is unpacked has no bound. */
  readonly #headers: Record<string, string> = { "accept-encoding": "identity" };
  readonly #secrets: UrlSecrets;
  readonly #closing = new AbortController();

  constructor(private readonly options: HttpBackendOptions) {
    const { baseUrl } = options;
    this.#base = `${baseUrl.origin}${baseUrl.pathname.replace(/\/$/, "")}`;
    this.#label = baseUrl.host;
    this.#secrets = new UrlSecrets(baseUrl);
    if (baseUrl.username !== "" || baseUrl.password !== "") {
      const user = `${decodeURIComponent(baseUrl.username)}:${decodeURIComponent(baseUrl.password)}`;
      this.#headers.authorization = `Basic ${Buffer.from(user).toString("base64")}`;
    }
  }

  keyProblem(key: string): string {
    // The URL standard takes these for steps in the path, percent-encoded or not.
    return key === "." || key === ".." ? `${JSON.stringify(key)} can't be a part of a URL` : "";
  }

  async load(keys: readonly string[], options: CallOptions): Promise<LoadResult[]> {
    const signal = this.#signal(options);
    return Promise.all(keys.map((key) => this.#loadOne(key, options, signal)));
  }

  async write(rows: readonly BackendRow[], options: CallOptions): Promise<RowResult[]> {
    const signal = this.#signal(options);
    const { batchPath } = this.options;
    if (batchPath !== null && rows.length > 1) return this.#writeTogether(batchPath, rows, options, signal);
    return this.#writeEach(rows, options, signal);
  }

  async #writeEach(rows: readonly BackendRow[], options: CallOptions, signal: AbortSignal): Promise<RowResult[]> {
    const results: RowResult[] = [];
    let next = 0;
    const work = async () => {
      for (let i = next++; i < rows.length; i = next++) {
        const row = rows[i];
        if (row !== undefined) results[i] = await this.#writeOne(row, options, signal);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.options.writeConcurrency, rows.length) }, work));
    return results;
  }

  /** Nothing can be asked of a service that would change nothing and mean something: its first load or write tells. */
  async check(): Promise<void> {}

  async close(): Promise<void> {
    this.#closing.abort();
  }

  #signal(options: CallOptions): AbortSignal {
    return AbortSignal.any([callSignal(options), this.#closing.signal]);
  }

  async #loadOne(key: string, options: CallOptions, signal: AbortSignal): Promise<LoadResult> {
    try {
      const accept = { accept: `${JSON_CONTENT_TYPE}, */*;q=0.5` };
      const response = await this.#send("GET", pathOf(key), accept, null, options, signal);
      if (response.status === 404 || response.status === 410) {
        await response.body?.cancel();
        return { kind: "absent" };
      }
      const body = await readBody(response, MAX_VALUE_BYTES);
      if (response.status === 200) return { kind: "found", value: this.#value(response, body) };
      return { kind: "failed", error: this.#statusError(response.status) };
    } catch (error) {
      return { kind: "failed", error: this.#toBackendError(error, signal) };
    }
  }

  async #writeOne(row: BackendRow, options: CallOptions, signal: AbortSignal): Promise<RowResult> {
    const headers: Record<string, string> = {
      "x-servcache-version": String(row.version),
      "idempotency-key": idempotencyKey(row),
    };
    if (row.kind === "put") headers["content-type"] = row.value.contentType;
    try {
      const [method, body] = row.kind === "put" ? (["POST", row.value.bytes] as const) : (["DELETE", null] as const);
      const response = await this.#send(method, pathOf(row.key), headers, body, options, signal);
      const error = await shortText(response);
      const version = Number(response.headers.get("x-servcache-version") ?? Number.NaN);
      return this.#outcome(row, { status: response.status, error, version });
    } catch (error) {
      const failure = this.#toBackendError(error, signal);
      if (failure.code === "ERR_BACKEND_REFUSED") return { kind: "refused", reason: failure.message };
      return { kind: "retry", error: failure };
    }
  }

  /** What an endpoint refuses as a whole is tried row by row: it may be about one of them. */
  async #writeTogether(
    path: string,
    rows: readonly BackendRow[],
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<RowResult[]> {
    const headers = { "content-type": JSON_CONTENT_TYPE };
    try {
      const response = await this.#send("POST", path, headers, batchBody(rows), options, signal);
      const body = await readBody(response, WRITE_ANSWER_LIMIT_BYTES + rows.length * BATCH_ANSWER_LIMIT_BYTES);
      if (response.status >= 200 && response.status < 300) {
        const answers = batchAnswers(body, rows.length);
        if (answers !== null) return rows.map((row, at) => this.#outcome(row, answers[at] ?? NO_ANSWER));
        const message = `${this.#label} answered a batch with something else than a status for each operation`;
        throw new BackendError("ERR_BACKEND_ANSWER", message);
      }
      if (!isRefusal(response.status)) throw this.#statusError(response.status);
      return await this.#writeEach(rows, options, signal);
    } catch (error) {
      const failure = this.#toBackendError(error, signal);
      return rows.map(() => ({ kind: "retry", error: failure }));
    }
  }

  #outcome(row: BackendRow, { status, error, version }: RowAnswer): RowResult {
    if (status >= 200 && status < 300) return { kind: "written" };
    if (row.kind === "delete" && (status === 404 || status === 410)) return { kind: "written" };
    if (status === 412) return { kind: "superseded" };
    // 409 alone may be any conflict; with the newer version beside it, it is about ours.
    if (status === 409 && version > row.version) return { kind: "superseded" };
    if (isRefusal(status)) {
      return { kind: "refused", reason: this.#secrets.hide(`${this.#label} answered ${status}: ${error}`) };
    }
    return { kind: "retry", error: this.#statusError(status) };
  }

  async #send(
    method: "GET" | "POST" | "DELETE",
    path: string,
    headers: Record<string, string>,
    body: Buffer | null,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<Response> {
    const sent: Record<string, string> = { ...this.#headers, ...headers };
    Object.assign(sent, traceHeaders(options.traceContext));
    const init: BunFetchRequestInit = { method, headers: sent, signal, redirect: "manual", decompress: false };
    if (body !== null) init.body = new Uint8Array(body);
    if (this.options.tlsCa !== null) init.tls = { ca: this.options.tlsCa };
    const response = await this.options.fetch(`${this.#base}${path}${this.options.baseUrl.search}`, init);
    const coding = response.headers.get("content-encoding") ?? "identity";
    if (coding.toLowerCase() === "identity") return response;
    await response.body?.cancel();
    const message = `${this.#label} answered with Content-Encoding ${coding} though only identity is accepted`;
    throw new BackendError("ERR_BACKEND_ANSWER", message);
  }

  #value(response: Response, bytes: Buffer): CacheValue {
    const contentType = response.headers.get("content-type") ?? JSON_CONTENT_TYPE;
    const mediaType = (contentType.split(";")[0] ?? "").trim().toLowerCase();
    // Servers that don't say what they send, or say text, mean the bare value too, if it is one.
    const isSaidJson = mediaType === JSON_CONTENT_TYPE || mediaType.endsWith("+json") || mediaType === "";
    if (isSaidJson || mediaType.startsWith("text/plain")) {
      if (isJson(bytes)) return { bytes, contentType: JSON_CONTENT_TYPE };
      if (isSaidJson) throw new BackendError("ERR_BACKEND_ANSWER", `${this.#label} answered 200 with invalid JSON`);
    }
    if (mediaType === "text/html" && !this.options.allowsHtml) {
      const message =
        `${this.#label} answered 200 with a page (text/html) in place of a value; ` +
        "set SERV_CACHE_BACKEND_HTML=true where its values are pages";
      throw new BackendError("ERR_BACKEND_ANSWER", message);
    }
    if (contentType.length > MAX_CONTENT_TYPE_BYTES) {
      throw new BackendError("ERR_BACKEND_ANSWER", `${this.#label} answered with a content type that is too long`);
    }
    return { bytes, contentType };
  }

  #statusError(status: number): BackendError {
    const code = status >= 500 || PASSING_4XX.has(status) ? "ERR_BACKEND_UNAVAILABLE" : "ERR_BACKEND_ANSWER";
    return new BackendError(code, `${this.#label} answered ${status}`);
  }

  #toBackendError(error: unknown, signal: AbortSignal): BackendError {
    if (error instanceof BackendError) return error;
    if (signal.aborted) return abortError(signal, this.#label);
    if (error instanceof ResponseTooLargeError) {
      return new BackendError("ERR_BACKEND_ANSWER", `${this.#label}: ${error.message}`, { cause: error });
    }
    return new BackendError("ERR_BACKEND_UNAVAILABLE", `${this.#label}: ${connectionFailure(error)}`);
  }
}

/** A batch has answers for all rows: this stands for none. */
const NO_ANSWER: RowAnswer = { status: 502, error: "", version: Number.NaN };

/** What a service says of a write; empty where that is long: the status says enough. */
async function shortText(response: Response): Promise<string> {
  try {
    return (await readBody(response, WRITE_ANSWER_LIMIT_BYTES)).toString("utf8", 0, REASON_LIMIT);
  } catch (error) {
    if (error instanceof ResponseTooLargeError) return "";
    throw error;
  }
}

/** The row is to blame, and will be refused again. */
function isRefusal(status: number): boolean {
  return status >= 400 && status < 500 && !PASSING_4XX.has(status);
}

/** A key is one part of the path. Throws `BackendError` for one that can't be. */
function pathOf(key: string): string {
  if (key === "." || key === "..") {
    // The URL standard takes these for steps in the path, percent-encoded or not.
    throw new BackendError("ERR_BACKEND_REFUSED", `key ${JSON.stringify(key)} can't be a part of a URL`);
  }
  return `/${encodeURIComponent(key)}`;
}

/**
 * The same for every try of one write, and for no other write: draft-ietf-httpapi-idempotency-key-header, section 2.1, a
 * string in quotes.
 */
function idempotencyKey({ key, version, kind }: BackendRow): string {
  const digest = createHash("sha256").update(key).digest("base64url").slice(0, 22);
  return `"${version}-${kind}-${digest}"`;
}

function isJson(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false;
  try {
    JSON.parse(bytes.toString("utf8"));
    return true;
  } catch {
    return false;
  }
}
