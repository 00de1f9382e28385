import { join } from "node:path";
import type { OpenLoopOptions, OpenLoopReport } from "./open-loop.ts";
import { LOAD_CORE, pinned } from "./process.ts";

/** Runs open-loop load in a process of its own, on the load's core. */
export async function runOpenLoop(options: OpenLoopOptions): Promise<OpenLoopReport> {
  const program = join(import.meta.dirname, "open-loop-process.ts");
  const child = Bun.spawn(pinned([process.execPath, program, JSON.stringify(options)], LOAD_CORE), { stderr: "pipe" });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the load failed: ${await new Response(child.stderr).text()}`);
  return JSON.parse(output);
}
