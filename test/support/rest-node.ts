import { connect } from "node:net";
import { Cache } from "../../src/cache/cache.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { createApi } from "../../src/http/rest/api.ts";
import { startHttpServer } from "../../src/http/transport/server.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import { makeTelemetry, ThreadTelemetry } from "../../src/telemetry/node-telemetry.ts";
import { ManualClock, pruneAll } from "./engine-io.ts";
import { LateEngine, UnpromisingEngine } from "./late-engine.ts";

export interface RestAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  readonly text: string;
  json(): ReturnType<typeof JSON.parse>;
}

export interface RestCall {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** For `describe.each`: the API answers the same whichever way its engine answers. */
export const ANSWERS = ["at once", "later", "later, without promises"] as const;

export interface RestNodeOptions {
  /** How the engine answers; by default at once. */
  readonly answers?: (typeof ANSWERS)[number] | undefined;
  readonly defaultTtlMs?: number;
  readonly limitBytes?: number;
  /** Instead of the memory engine. */
  readonly engine?: Engine;
  /** When the clock stands still, in ms since the Unix epoch. */
  readonly startMs?: number;
}

/** The REST surface over the memory engine in this process, on a free port and a clock that stands still. */
export class RestNode implements Disposable {
  readonly clock = new ManualClock();
  /** What the handler threw: bugs. */
  readonly errors: unknown[] = [];
  ready = true;
  private readonly engine: MemoryEngine;
  private readonly server;

  constructor({
    answers = "at once",
    defaultTtlMs,
    limitBytes = 128 * 1024 * 1024,
    engine: other,
    startMs,
  }: RestNodeOptions = {}) {
    this.clock.nowMs = startMs ?? this.clock.nowMs;
    const nowMs = this.clock.read;
    this.engine = MemoryEngine.create({ limitBytes, threads: 1, clock: nowMs });
    const versions = HybridClock.create(nowMs);
    const engine = other ?? engineThatAnswers(answers, this.engine);
    const cache = new Cache({ engine, versions, nowMs, defaultTtlMs: defaultTtlMs ?? null, nodeId: 0, link: null });
    this.server = startHttpServer({
      hostname: "127.0.0.1",
      port: 0,
      handler: createApi({
        cache,
        nowMs,
        startedMs: nowMs(),
        version: "1.2.3",
        isReady: () => this.ready,
        upstream: null,
        peerGate: null,
        inFlight: null,
        tellsMaxAge: false,
        metricsBuckets: "full",
        telemetry: new ThreadTelemetry(makeTelemetry(1), 0, () => 0),
      }),
      clock: { nowMs, monotonicMs: nowMs },
      onError: (error) => this.errors.push(error),
    });
  }

  get port(): number {
    return this.server.port;
  }

  /** Sends one request on a connection of its own; the path goes out as it is. */
  call(method: string, path: string, { headers = {}, body = "" }: RestCall = {}): Promise<RestAnswer> {
    const bytes: Buffer = typeof body === "string" ? Buffer.from(body) : body;
    const length = bytes.length > 0 || method === "POST" || method === "PUT" ? { "Content-Length": bytes.length } : {};
    const lines = Object.entries({ Host: "test", Connection: "close", ...length, ...headers });
    const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const socket = connect(this.server.port, "127.0.0.1", () => {
        socket.write(Buffer.concat([Buffer.from(head, "latin1"), bytes]));
      });
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("error", reject);
      socket.on("close", () => {
        try {
          resolve(parseAnswer(Buffer.concat(chunks)));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** `POST /api/cache` with a raw JSON value. */
  post(key: string, rawValue: string, more = ""): Promise<RestAnswer> {
    return this.call("POST", "/api/cache", { body: `{"key":${JSON.stringify(key)},"value":${rawValue}${more}}` });
  }

  get(key: string, headers: Record<string, string> = {}): Promise<RestAnswer> {
    return this.call("GET", `/api/cache/${encodeURIComponent(key)}`, { headers });
  }

  prune(): void {
    pruneAll(this.engine);
  }

  [Symbol.dispose](): void {
    this.server.stop();
  }
}

function engineThatAnswers(answers: (typeof ANSWERS)[number], engine: MemoryEngine): Engine {
  if (answers === "at once") return engine;
  return answers === "later" ? new LateEngine(engine) : new UnpromisingEngine(engine);
}

function parseAnswer(bytes: Buffer): RestAnswer {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) throw new Error(`no whole answer: ${bytes.toString("latin1", 0, 200)}`);
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n");
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = bytes.subarray(headEnd + 4);
  const text = body.toString("utf8");
  return { status: Number(statusLine.split(" ")[1]), headers, body, text, json: () => JSON.parse(text) };
}
