import { expect } from "bun:test";
import { Cache } from "../../src/cache/cache.ts";
import { KeyGate } from "../../src/cache/key-gate.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { RecentPuts } from "../../src/cache/recent-puts.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createApi } from "../../src/http/rest/api.ts";
import type { PeerGate } from "../../src/http/rest/peer-routes.ts";
import { ERROR_STATUS } from "../../src/http/transport/error-codes.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import { ByteBudget } from "../../src/runtime/byte-budget.ts";
import { makeTelemetry, ThreadTelemetry } from "../../src/telemetry/node-telemetry.ts";
import type { BucketChoice } from "../../src/telemetry/prometheus.ts";
import { ManualClock, smallEngine } from "./engine-io.ts";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startTestHttpServer } from "./http-server.ts";
import { LateEngine, UnpromisingEngine } from "./late-engine.ts";
import { type RawAnswer, RawClient } from "./raw-client.ts";

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** The REST surface behind a real socket, on a clock that stands still until the test moves it. */
export interface TestApi extends Disposable {
  readonly clock: ManualClock;
  readonly versions: HybridClock;
  readonly engine: Engine;
  readonly port: number;
  /** Errors that the API took for bugs. */
  readonly bugs: readonly unknown[];
  ready: boolean;
  /** Sends one request, exactly as it is written here, and reads the answer. `target` is in Latin-1. */
  call(method: string, target: string, options?: CallOptions): Promise<RawAnswer>;
}

export interface TestApiOptions {
  readonly engine?: (clock: ManualClock) => Engine;
  readonly defaultTtlMs?: number | null;
  /** What is behind the cache; left out = nothing. */
  readonly upstream?: FakeUpstream;
  /** Left out = anybody may say that he is a peer. */
  readonly peerGate?: PeerGate;
  readonly tellsMaxAge?: boolean;
  readonly metricsBuckets?: BucketChoice;
  /** What bodies and answers may hold. */
  readonly budget?: ByteBudget;
}

const LIMIT_BYTES = 64 * 1024 * 1024;
const BUDGET_BYTES = 256 * 1024 * 1024;

export const atOnce = (clock: ManualClock): Engine => smallEngine(LIMIT_BYTES, clock);
export const later = (clock: ManualClock): LateEngine => new LateEngine(smallEngine(LIMIT_BYTES, clock));

/** For `describe.each`: the API answers the same whichever way its engine answers. */
export const WAYS_TO_ANSWER: readonly (readonly [string, (clock: ManualClock) => Engine])[] = [
  ["at once", atOnce],
  ["later", later],
  ["later, without promises", (clock) => new UnpromisingEngine(smallEngine(LIMIT_BYTES, clock))],
];

export async function startTestApi(testOptions: TestApiOptions = {}): Promise<TestApi> {
  const { engine = atOnce, defaultTtlMs = null, upstream = null, peerGate = null } = testOptions;
  const { tellsMaxAge = false, metricsBuckets = "full", budget = ByteBudget.create(BUDGET_BYTES) } = testOptions;
  const clock = new ManualClock();
  const versions = HybridClock.create(clock.read);
  const below = engine(clock);
  const invalidations = RecentInvalidations.create();
  const link =
    upstream === null
      ? null
      : { ...upstream.link, invalidations, recentPuts: RecentPuts.create(), gate: KeyGate.create() };
  const cache = new Cache({ engine: below, versions, nowMs: clock.read, defaultTtlMs, nodeId: 0, link });
  const state = { ready: true };
  const options = {
    cache,
    nowMs: clock.read,
    startedMs: clock.nowMs,
    version: "1.2.3",
    isReady: () => state.ready,
    telemetry: new ThreadTelemetry(makeTelemetry(1), 0, Math.random),
    upstream,
    peerGate,
    inFlight: budget,
    tellsMaxAge,
    metricsBuckets,
  };
  const server = startTestHttpServer(createApi(options), {}, { budget });
  const client = await RawClient.open(server.port);
  return {
    clock,
    versions,
    engine: below,
    port: server.port,
    get bugs() {
      return server.errors.map(({ error }) => error);
    },
    get ready() {
      return state.ready;
    },
    set ready(ready) {
      state.ready = ready;
    },
    async call(method, target, callOptions) {
      await client.send(requestBytes(method, target, callOptions));
      return client.answer({ toHead: method === "HEAD" });
    },
    [Symbol.dispose]() {
      client.socket.destroy();
      server.stop();
    },
  };
}

export function requestBytes(method: string, target: string, { headers = {}, body = "" }: CallOptions = {}): Buffer {
  const bytes = Buffer.from(body);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${method} ${target} HTTP/1.1\r\nHost: test\r\n${lines.join("")}Content-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), bytes]);
}

/** An error answer is JSON with what to do, a code, and a trace id. Gives what to do. */
export function expectError(answer: RawAnswer, status: number, code: string): string {
  expect([answer.status, answer.body]).toEqual([status, expect.stringContaining(`"code":"${code}"`)]);
  expect(answer.headers.get("content-type")).toBe("application/json");
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(new Map<string, number>(Object.entries(ERROR_STATUS)).get(code)).toBe(status);
  const { error, ...rest } = JSON.parse(answer.body);
  expect(rest).toEqual({ code, trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) });
  expect(error).toBeString();
  expect(error.length).toBeGreaterThan(10);
  return error;
}

export function expectSuccess(answer: RawAnswer): void {
  expect([answer.status, answer.body]).toEqual([200, '{"status":"success"}']);
  expect(answer.headers.get("content-type")).toBe("application/json");
  expect(answer.headers.get("cache-control")).toBe("no-store");
}

/** What is left of an entry's life, in seconds, as an answer to a read tells it; null = it never expires. */
export function ttlIn({ headers }: { readonly headers: ReadonlyMap<string, string> }): number | null {
  expect(headers.get("cache-control")).toBe("no-cache");
  const [, ttl] = /^ServCache; hit(?:; ttl=(\d+))?$/.exec(headers.get("cache-status") ?? "") ?? [];
  return ttl === undefined ? null : Number(ttl);
}
