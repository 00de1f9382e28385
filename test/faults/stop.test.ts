/** FAULTS 38: however a stop is asked for, and however often, it is one stop, and it ends with 0. */
import { afterEach, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { needingThat } from "../support/needing.ts";
import { until } from "../support/until.ts";

const root = join(import.meta.dir, "..", "..");
const LAUNCHER = ["node", "scripts/bun.mjs", "src/main.ts", "serve"];
const NPM = ["npm", "start", "--"];
const FLAGS = ["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=2"];

const started: Launched[] = [];

afterEach(async () => {
  for (const { child } of started) killGroup(child, "SIGKILL");
  await Promise.all(started.splice(0).map(({ exitCode }) => exitCode));
});

interface Launched {
  readonly child: ChildProcess;
  readonly exitCode: Promise<number | null>;
  output(): string;
}

/** In a process group of its own, as a shell or a service manager starts it. */
function launch(command: readonly string[]): Launched {
  const [program = "", ...args] = command;
  const child = spawn(program, [...args, ...FLAGS], { cwd: root, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (output += chunk));
  const exitCode = new Promise<number | null>((resolve) => child.on("close", resolve));
  const launched = { child, exitCode, output: () => output };
  started.push(launched);
  return launched;
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone.
  }
}

const isReady = ({ output }: Launched) => output().includes("listens on");
const portOf = ({ output }: Launched) => Number(/:(\d+) /.exec(output())?.[1]);

/** Of Linux. */
function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map(Number);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe.each([
  ["the launcher", LAUNCHER],
  ["npm start", NPM],
])("a node under %s", (_, command) => {
  test.each([
    [["SIGTERM"]],
    [["SIGTERM", "SIGTERM", "SIGTERM"]],
    [["SIGINT"]],
    [["SIGTERM", "SIGINT", "SIGTERM"]],
    [["SIGINT", "SIGTERM"]],
  ] as const)("ends with 0 when its group gets %p", async (signals) => {
    const node = launch(command);
    await until("it is ready", () => isReady(node));
    for (const signal of signals) killGroup(node.child, signal);
    expect(await node.exitCode).toBe(0);
    expect(node.output()).not.toContain("servcache:");
  });
});

needingThat(process.platform === "linux", "/proc, as Linux has it").describe("a node under the launcher", () => {
  test("ends with 0 when its group gets SIGTERM at any moment of its start", async () => {
    for (let turn = 0; turn < 12; turn++) {
      const node = launch(LAUNCHER);
      const launcher = node.child.pid ?? 0;
      // The launcher listens for signals before it has a child; the turns spread over what comes after that.
      await until("the launcher has started Bun", () => childrenOf(launcher).length > 0);
      for (let look = 0; look < turn * 3 && !isReady(node); look++) await Bun.sleep(2);
      killGroup(node.child, "SIGTERM");
      killGroup(node.child, "SIGTERM");
      expect(await node.exitCode).toBe(0);
    }
  });

  test("ends when the launcher is killed", async () => {
    const node = launch(LAUNCHER);
    await until("it is ready", () => isReady(node));
    const launcher = node.child.pid ?? 0;
    const [bun = 0] = childrenOf(launcher);
    expect((await fetch(`http://127.0.0.1:${portOf(node)}/healthz`)).status).toBe(200);
    process.kill(launcher, "SIGKILL");
    await until("the node has ended, too", () => !isRunning(bun));
    await expect(fetch(`http://127.0.0.1:${portOf(node)}/healthz`)).rejects.toThrow();
  });
});

test("other programs than a node end by the launcher as a shell would tell", async () => {
  const program = launch(["node", "scripts/bun.mjs", "-e", "console.log('listens on'); setInterval(() => {}, 1000)"]);
  await until("it runs", () => isReady(program));
  killGroup(program.child, "SIGTERM");
  expect(await program.exitCode).toBe(143);
});
