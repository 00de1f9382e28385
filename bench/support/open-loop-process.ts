/** Runs the load that the first argument describes (JSON of `OpenLoopOptions`); prints the report as JSON. */
import { openLoop } from "./open-loop.ts";
import { waitedForCoreMs } from "./process.ts";

const beforeMs = waitedForCoreMs(process.pid);
const report = await openLoop(JSON.parse(process.argv[2] ?? "{}"));
console.log(JSON.stringify({ ...report, generatorWaitedMs: waitedForCoreMs(process.pid) - beforeMs }));
