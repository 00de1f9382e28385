import { join } from "node:path";
import type { OpenLoopOptions, OpenLoopReport } from "./open-loop.ts";
import { LOAD_CORE, pinned, type ServerProcess } from "./process.ts";

export interface LoadReport extends OpenLoopReport {
  /** How long the generator and the server were ready to run and had no core: what neighbours on the machine cost. */
  readonly generatorWaitedMs: number;
  readonly serverWaitedMs: number;
}

/** Runs open-loop load in a process of its own, on the load's core. */
export async function runOpenLoop(server: ServerProcess, options: Omit<OpenLoopOptions, "port">): Promise<LoadReport> {
  const beforeMs = server.waitedForCoreMs();
  const orders: OpenLoopOptions = { ...options, port: server.port };

  const program = join(import.meta.dirname, "open-loop-process.ts");
  const child = Bun.spawn(pinned([process.execPath, program, JSON.stringify(orders)], LOAD_CORE), { stderr: "pipe" });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the load failed: ${await new Response(child.stderr).text()}`);
  return { ...JSON.parse(output), serverWaitedMs: server.waitedForCoreMs() - beforeMs };
}
