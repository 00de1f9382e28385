import { describe, expect, test } from "bun:test";
import { type DrainableNode, type HostProcess, type StopSignal, stopOnSignals } from "../../src/node/lifecycle.ts";
import { waitUntil } from "../support/wait-until.ts";

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
  stopOnSignals(node, options.graceMs, host, (error) => calls.push(String(error)));
  return {
    calls,
    signal: (signal: StopSignal) => listeners.get(signal)?.(),
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

const never = () => new Promise<void>(() => {});

describe("a stop", () => {
  test("drains within the grace period, then stops everything, then ends with code 0", async () => {
    const { calls, signal } = arrange({ drain: async () => {}, graceMs: 10_000 });
    signal("SIGTERM");
    await waitUntil("it exits", () => calls.includes("exit 0"));
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
    await waitUntil("it exits", () => calls.includes("exit 0"));
    expect(calls).toEqual([
      "drain 9.5",
      "servcache: the grace period is over, what was still under way is cut",
      "exit 0",
    ]);
  });

  test("hands a failing drain to the failure path", async () => {
    const { calls, signal } = arrange({ drain: () => Promise.reject(new Error("broken")), graceMs: 10_000 });
    signal("SIGTERM");
    await waitUntil("it fails", () => calls.length === 2);
    expect(calls).toEqual(["drain 9500", "Error: broken"]);
  });
});
