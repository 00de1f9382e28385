/**
 * A backend behind HTTP, in the original product's form: `GET {base}/{key}` answers the bare JSON value or 404,
 * `POST {base}/{key}` takes it, `DELETE {base}/{key}` removes it. What is not JSON goes with its own content type.
 */
import { isUtf8 } from "node:buffer";
import { JSON_CONTENT_TYPE, MAX_CONTENT_TYPE_BYTES, MAX_VALUE_BYTES } from "../../engine/engine.ts";
import { traceHeaders } from "../../telemetry/trace/trace-context.ts";
import {
  type Backend,
  BackendError,
  type BackendRow,
  type BackendValue,
  type CallOptions,
  type LoadResult,
  type RowResult,
} from "../backend.ts";
import { abortError, callSignal } from "../call-signal.ts";
import { ResponseTooLargeError, readBody } from "./read-body.ts";

export type Fetch = (url: string, init: BunFetchRequestInit) => Promise<Response>;

export interface HttpBackendOptions {
  /** `http(s)://host/path`; user and password become basic authentication. */
  readonly baseUrl: URL;
  readonly fetch: Fetch;
  /** Rows of one `write` that are under way at the same time. */
  readonly writeConcurrency: number;
  /** PEM of the authority that signed the server's certificate; null = the system's. */
  readonly tlsCa: string | null;
}

/** How much of an answer that refuses a row is kept as the reason, in characters. */
const REASON_LIMIT = 300;

/** 4xx that speak of the moment and not of the row: timeout, too early, too many requests. */
const PASSING_4XX = new Set([408, 425, 429]);

export class HttpBackend implements Backend {
  readonly name = "http";
  readonly loadBatchKeys = 1;
  readonly #base: string;
  readonly #label: string;
  readonly #headers: Record<string, string> = {};
  readonly #closing = new AbortController();

  constructor(private readonly options: HttpBackendOptions) {
    const { baseUrl } = options;
    this.#base = `${baseUrl.origin}${baseUrl.pathname.replace(/\/$/, "")}`;
    this.#label = baseUrl.host;
    if (baseUrl.username !== "" || baseUrl.password !== "") {
      const user = `${decodeURIComponent(baseUrl.username)}:${decodeURIComponent(baseUrl.password)}`;
      this.#headers.authorization = `Basic ${Buffer.from(user).toString("base64")}`;
    }
  }

  async load(keys: readonly string[], options: CallOptions): Promise<LoadResult[]> {
    const signal = this.#signal(options);
    return Promise.all(keys.map((key) => this.#loadOne(key, options, signal)));
  }

  async write(rows: readonly BackendRow[], options: CallOptions): Promise<RowResult[]> {
    const signal = this.#signal(options);
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
      const response = await this.#send(
        "GET",
        key,
        { accept: `${JSON_CONTENT_TYPE}, */*;q=0.5` },
        null,
        options,
        signal,
      );
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
    const headers: Record<string, string> = { "x-servcache-version": String(row.version) };
    if (row.kind === "put") headers["content-type"] = row.contentType;
    try {
      const body = row.kind === "put" ? row.value : null;
      const response = await this.#send(
        row.kind === "put" ? "POST" : "DELETE",
        row.key,
        headers,
        body,
        options,
        signal,
      );
      const answer = (await readBody(response, MAX_VALUE_BYTES)).toString("utf8", 0, REASON_LIMIT);
      return this.#outcome(row, response, answer);
    } catch (error) {
      const failure = this.#toBackendError(error, signal);
      if (failure.code === "ERR_BACKEND_REFUSED") return { kind: "refused", reason: failure.message };
      return { kind: "retry", error: failure };
    }
  }

  #outcome(row: BackendRow, response: Response, answer: string): RowResult {
    const { status } = response;
    if (status >= 200 && status < 300) return { kind: "written" };
    if (row.kind === "delete" && (status === 404 || status === 410)) return { kind: "written" };
    if (status === 412) return { kind: "superseded" };
    // 409 alone may be any conflict; with the newer version beside it, it is about ours.
    const stored = Number(response.headers.get("x-servcache-version") ?? Number.NaN);
    if (status === 409 && stored > row.version) return { kind: "superseded" };
    if (status >= 400 && status < 500 && !PASSING_4XX.has(status)) {
      return { kind: "refused", reason: `${this.#label} answered ${status}: ${answer}` };
    }
    return { kind: "retry", error: this.#statusError(status) };
  }

  #send(
    method: "GET" | "POST" | "DELETE",
    key: string,
    headers: Record<string, string>,
    body: Buffer | null,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<Response> {
    if (key === "." || key === "..") {
      // The URL standard takes these for steps in the path, percent-encoded or not.
      const message = `key ${JSON.stringify(key)} can't be a part of a URL`;
      return Promise.reject(new BackendError("ERR_BACKEND_REFUSED", message));
    }
    const sent: Record<string, string> = { ...this.#headers, ...headers };
    Object.assign(sent, traceHeaders(options.traceparent));
    const init: BunFetchRequestInit = { method, headers: sent, signal, redirect: "manual" };
    if (body !== null) init.body = new Uint8Array(body);
    if (this.options.tlsCa !== null) init.tls = { ca: this.options.tlsCa };
    return this.options.fetch(`${this.#base}/${encodeURIComponent(key)}${this.options.baseUrl.search}`, init);
  }

  #value(response: Response, bytes: Buffer): BackendValue {
    const contentType = response.headers.get("content-type") ?? JSON_CONTENT_TYPE;
    const mediaType = (contentType.split(";")[0] ?? "").trim().toLowerCase();
    // Servers that don't say what they send, or say text, mean the bare value too, if it is one.
    const isSaidJson = mediaType === JSON_CONTENT_TYPE || mediaType.endsWith("+json") || mediaType === "";
    if (isSaidJson || mediaType.startsWith("text/plain")) {
      if (isJson(bytes)) return { bytes, contentType: JSON_CONTENT_TYPE };
      if (isSaidJson) throw new BackendError("ERR_BACKEND_ANSWER", `${this.#label} answered 200 with invalid JSON`);
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
    const message = error instanceof Error ? error.message : String(error);
    return new BackendError("ERR_BACKEND_UNAVAILABLE", `${this.#label}: ${message}`, { cause: error });
  }
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
