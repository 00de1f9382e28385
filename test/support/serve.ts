/**
 * Starts real `servcache` processes on free ports. A test file that uses it says `afterEach(endServed)`: a hook that is
 * registered here would hold for the first file only that imports this one.
 */

import { join } from "node:path";

const main = join(import.meta.dir, "..", "..", "src", "main.ts");

export interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ServedNode {
  readonly port: number;
  readonly readyLine: string;
  readonly pid: number;
  signal(signal: "SIGTERM" | "SIGINT" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
  /** Settles when the process has ended, with all that it printed. */
  finished(): Promise<Finished>;
}

type Environment = Readonly<Record<string, string>>;
type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

const running = new Set<Child>();

/** Ends the processes that a test left behind. */
export async function endServed(): Promise<void> {
  for (const child of running) child.kill("SIGKILL");
  await Promise.all([...running].map((child) => child.exited));
}

/** Runs a command that is expected to end by itself. */
export async function runMain(args: readonly string[], env: Environment = {}): Promise<Finished> {
  const child = spawn(args, env);
  return finish(child, collect(child.stdout));
}

/** Starts `servcache serve`, from this or another tree's `main.ts`; settles with its ready line. Throws what it printed when it ends before. */
export async function serve(args: readonly string[], env: Environment = {}, script = main): Promise<ServedNode> {
  const child = spawn(["serve", ...args], env, script);
  const ready = Promise.withResolvers<string>();
  const stdout = collect(child.stdout, (text) => {
    if (text.includes("\n")) ready.resolve(text.trimEnd());
  });
  const finished = finish(child, stdout);
  finished.then(({ stderr }) => ready.reject(new Error(`servcache ended before it was ready: ${stderr}`)));
  const readyLine = await ready.promise;
  return {
    port: Number(/:(\d+) /.exec(readyLine)?.[1]),
    readyLine,
    pid: child.pid,
    signal: (signal) => child.kill(signal),
    finished: () => finished,
  };
}

function spawn(args: readonly string[], env: Environment, script = main): Child {
  const child = Bun.spawn([process.execPath, script, ...args], {
    // Nothing of the environment that the tests run in may configure the node.
    env: { PATH: process.env.PATH ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.exited.then(() => running.delete(child));
  return child;
}

async function finish(child: Child, stdout: Promise<string>): Promise<Finished> {
  const stderr = await collect(child.stderr);
  return { exitCode: await child.exited, stdout: await stdout, stderr };
}

/** All that a stream brings; `onText` sees what came so far. */
async function collect(stream: ReadableStream<Uint8Array>, onText?: (text: string) => void): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    onText?.(text);
  }
  return text;
}
