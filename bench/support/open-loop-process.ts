/** Runs the load that the first argument describes (JSON of `OpenLoopOptions`); prints the report as JSON. */
import { openLoop } from "./open-loop.ts";

console.log(JSON.stringify(await openLoop(JSON.parse(process.argv[2] ?? "{}"))));
