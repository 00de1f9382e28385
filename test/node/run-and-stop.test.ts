import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/config.ts";
import { NodeError } from "../../src/node/errors.ts";
import {
  type DrainableNode,
  type HostProcess,
  runNode,
  type StopSignal,
  stopOnSignals,
} from "../../src/node/lifecycle.ts";
import type { RunningNode, startNode } from "../../src/node/node.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { machine } from "../support/machine.ts";
import { until } from "../support/until.ts";

function arrange(options: { readonly drain: (graceMs: number) => Promise<void>; readonly graceMs: number }) {
  const listeners = new Map<StopSignal, () => void>();
  const calls: string[] = [];
  let nowMs = 1_000;
  const host: HostProcess = {
    onSignal: (signal, listener) => listeners.set(signal, listener),
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
  stopOnSignals(node, { graceMs: options.graceMs, drainMs: 0 }, host, (error) => calls.push(String(error)));
  return {
    calls,
    signal: (signal: StopSignal) => listeners.get(signal)?.(),
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
    onSignal: () => {},
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
  "memory 2GiB (64MiB entries, 512MiB in flight, 208MiB runtime) · 4 threads";

describe("a run", () => {
  test("ends with one line and code 1 where the start fails", async () => {
    const { calls } = await run(() => Promise.reject(new NodeError("cannot listen")));
    expect(calls).toEqual(["err: servcache: cannot listen", "exit 1"]);
  });

  test("ends with one line and code 1 where the start fails in a way that nobody foresaw", async () => {
    const { calls } = await run(() => Promise.reject(new RangeError("out of\n memory")));
    expect(calls).toEqual(["err: servcache: unexpected failure: RangeError: out of memory", "exit 1"]);
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

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("ends at once on a second signal: %s gives code %p", (signal, code) => {
    const host = arrange({ drain: never, graceMs: 10_000 });
    host.signal("SIGTERM");
    host.pass(500);
    host.signal(signal);
    expect(host.calls).toEqual(["drain 9500", `exit ${code}`]);
  });

  test("takes the same Ctrl-C that arrives again through npm and the launcher for one", () => {
    const host = arrange({ drain: never, graceMs: 10_000 });
    host.signal("SIGINT");
    host.signal("SIGINT");
    host.pass(499);
    host.signal("SIGINT");
    expect(host.calls).toEqual(["drain 9500"]);
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
