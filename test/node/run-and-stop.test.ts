import { describe, expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import { loadConfig } from "../../src/config/config.ts";
import { NodeError } from "../../src/node/errors.ts";
import { type DrainableNode, type HostProcess, runNode, stopWhenAsked } from "../../src/node/lifecycle.ts";
import type { RunningNode, startNode } from "../../src/node/node.ts";
import type { StopRequest } from "../../src/node/stop-requests.ts";
import { StopRequests } from "../../src/node/stop-requests.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { machine } from "../support/machine.ts";
import { until } from "../support/until.ts";

interface Arrangement {
  readonly drain: (graceMs: number) => Promise<void>;
  readonly graceMs: number;
  /** By default the node has started. */
  readonly start?: Promise<void>;
}

function arrange(options: Arrangement) {
  const source = new EventEmitter();
  const stops = new StopRequests(source);
  const calls: string[] = [];
  let nowMs = 1_000;
  const host: HostProcess = {
    onStopRequest: (listener) => stops.onRequest(listener),
    onUncaught: () => calls.push("onUncaught"),
    printLine: (line) => calls.push(line),
    printErrorLine: (line) => calls.push(line),
    exit: (code) => calls.push(`exit ${code}`),
    monotonicMs: () => nowMs,
  };
  const node: DrainableNode = {
    drain: (graceMs) => {
      calls.push(`drain ${graceMs}`);
      return options.drain(graceMs);
    },
    stop: async () => {
      calls.push("stop");
    },
  };
  const starting = (options.start ?? Promise.resolve()).then(() => node);
  stopWhenAsked(starting, { graceMs: options.graceMs, drainMs: 0 }, host, (error) => calls.push(String(error)));
  return {
    calls,
    signal: (signal: StopRequest) => source.emit(signal === "launcher-gone" ? "disconnect" : signal),
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

/** Runs a node that `start` makes; gives what it printed and how it ended. */
async function run(start: typeof startNode): Promise<{ calls: string[]; throwUncaught: (error: unknown) => void }> {
  const calls: string[] = [];
  let throwUncaught: (error: unknown) => void = () => {};
  const host: HostProcess = {
    onStopRequest: () => {},
    onUncaught: (listener) => {
      throwUncaught = listener;
    },
    printLine: (line) => calls.push(`out: ${line}`),
    printErrorLine: (line) => calls.push(`err: ${line}`),
    exit: (code) => calls.push(`exit ${code}`),
    monotonicMs: () => 0,
  };
  const { config } = loadConfig(["--addr=127.0.0.1:1", "--entry-memory=64MiB"], {}, machine);
  const log = createLog({ level: "info", isPretty: false, write: (line) => calls.push(line), nowMs: () => 0 });
  await runNode(config, "1.2.3", host, log, start);
  return { calls, throwUncaught };
}

const runningNode: RunningNode = { port: 1, engineName: "memory", drain: async () => {}, stop: async () => {} };
const ready =
  "out: servcache 1.2.3 listens on http://127.0.0.1:1 · engine memory · " +
  "memory 2GiB (64MiB entries, 512MiB in flight, 384MiB runtime) · 4 threads";

describe("a run", () => {
  test("ends with one line and code 1 where the start fails", async () => {
    const { calls } = await run(() => Promise.reject(new NodeError("cannot listen")));
    expect(calls).toEqual(["err: servcache: cannot listen", "exit 1"]);
  });

  test("ends with one line and code 1 where the start fails in a way that nobody foresaw", async () => {
    const { calls } = await run(() => Promise.reject(new RangeError("out of\n range")));
    expect(calls).toEqual(["err: servcache: unexpected failure: RangeError: out of range", "exit 1"]);
  });

  test("names the setting where the system does not give the memory", async () => {
    const { calls } = await run(() => Promise.reject(new RangeError("Out of memory")));
    expect(calls).toEqual([
      "err: servcache: the system does not give the 64MiB for entries that SERV_CACHE_MAX_MEMORY=2GiB (--max-memory) asks for: set it lower, or SERV_CACHE_ENTRY_MEMORY",
      "exit 1",
    ]);
  });

  test("ends with one line and code 1 when a thread fails", async () => {
    let failThread: (error: NodeError) => void = () => {};
    const { calls } = await run(async (_, options) => {
      failThread = options.onFailure;
      return runningNode;
    });
    failThread(new NodeError("HTTP thread 2 ended with code 7: the node stops"));
    expect(calls).toEqual([ready, "err: servcache: HTTP thread 2 ended with code 7: the node stops", "exit 1"]);
  });

  test("ends with one line and code 1 on an error that nobody caught", async () => {
    const { calls, throwUncaught } = await run(async () => runningNode);
    throwUncaught(new Error("a bug"));
    expect(calls).toEqual([ready, "err: servcache: unexpected failure: Error: a bug", "exit 1"]);
  });

  test("goes on after a request that failed by a bug, with one line", async () => {
    const { calls } = await run(async (_, options) => {
      options.onRequestFailed("4711", "Error: a bug");
      return runningNode;
    });
    expect(calls).toEqual([
      '{"level":"error","time":"1970-01-01T00:00:00.000Z","trace_id":"4711","reason":"Error: a bug","message":"a request failed by a bug: please report it"}\n',
      ready,
    ]);
  });
});

const never = () => new Promise<void>(() => {});

describe("a stop", () => {
  test("drains within the grace period, then stops everything, then ends with code 0", async () => {
    const { calls, signal } = arrange({ drain: async () => {}, graceMs: 10_000 });
    signal("SIGTERM");
    await until("it exits", () => calls.includes("exit 0"));
    expect(calls).toEqual(["drain 9500", "stop", "exit 0"]);
  });

  test("is one, however often SIGTERM comes, with SIGINT or the end of the launcher", async () => {
    const drain = Promise.withResolvers<void>();
    const host = arrange({ drain: () => drain.promise, graceMs: 10_000 });
    for (const request of ["SIGTERM", "SIGTERM", "SIGINT", "launcher-gone", "SIGTERM"] as const) {
      host.signal(request);
      host.pass(5_000);
    }
    drain.resolve();
    await until("it exits", () => host.calls.includes("exit 0"));
    expect(host.calls).toEqual(["drain 9500", "stop", "exit 0"]);
  });

  test("ends at once on a second Ctrl-C, with code 130", async () => {
    const host = arrange({ drain: never, graceMs: 10_000 });
    host.signal("SIGINT");
    await until("it drains", () => host.calls.length === 1);
    host.pass(500);
    host.signal("SIGINT");
    expect(host.calls).toEqual(["drain 9500", "exit 130"]);
  });

  test("takes the same Ctrl-C that arrives again through npm for one", async () => {
    const host = arrange({ drain: never, graceMs: 10_000 });
    host.signal("SIGINT");
    host.signal("SIGINT");
    host.pass(499);
    host.signal("SIGINT");
    await until("it drains", () => host.calls.length > 0);
    expect(host.calls).toEqual(["drain 9500"]);
  });

  test("that is asked for during the start begins when the node has started", async () => {
    const start = Promise.withResolvers<void>();
    const host = arrange({ drain: async () => {}, graceMs: 10_000, start: start.promise });
    host.signal("SIGTERM");
    expect(host.calls).toEqual([]);
    start.resolve();
    await until("it exits", () => host.calls.includes("exit 0"));
    expect(host.calls).toEqual(["drain 9500", "stop", "exit 0"]);
  });

  test("that is asked for before anybody listens is heard", () => {
    const source = new EventEmitter();
    const stops = new StopRequests(source);
    source.emit("SIGINT");
    source.emit("SIGTERM");
    const heard: StopRequest[] = [];
    stops.onRequest((request) => heard.push(request));
    source.emit("disconnect");
    expect(heard).toEqual(["SIGINT", "SIGTERM", "launcher-gone"]);
  });

  test("cuts what is still under way at the end of the grace period, and says so", async () => {
    const { calls, signal } = arrange({ drain: never, graceMs: 10 });
    signal("SIGTERM");
    await until("it exits", () => calls.includes("exit 0"));
    expect(calls).toEqual([
      "drain 9.5",
      "servcache: the grace period is over, what was still under way is cut",
      "exit 0",
    ]);
  });

  test("hands a failing drain to the failure path", async () => {
    const { calls, signal } = arrange({ drain: () => Promise.reject(new Error("broken")), graceMs: 10_000 });
    signal("SIGTERM");
    await until("it fails", () => calls.length === 2);
    expect(calls).toEqual(["drain 9500", "Error: broken"]);
  });
});
