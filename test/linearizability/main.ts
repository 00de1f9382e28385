/**
 * `npm run linearize -- --operations 1000000 --database mariadb --mode through --restarts 10 --seed 7`
 *
 * Runs a workload on a node before a real database and checks its history. Ends with 1 where a key has a violation, after
 * printing the calls that can't be put in order; with the same seed the same calls are made, in another interleaving.
 */
import { parseArgs } from "node:util";
import { endServed } from "../support/serve.ts";
import { shownViolation } from "./history.ts";
import { runOn, startDatabase } from "./run.ts";

const { values } = parseArgs({
  options: {
    operations: { type: "string", default: "100000" },
    database: { type: "string", default: "postgres" },
    mode: { type: "string", default: "behind" },
    clients: { type: "string", default: "32" },
    workers: { type: "string", default: "2" },
    restarts: { type: "string", default: "3" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
});
const database = values.database === "mariadb" ? "mariadb" : "postgres";
const writeMode = values.mode === "through" ? "through" : "behind";
const seed = Number(values.seed);
console.log(`${database}, ${writeMode}, ${values.operations} operations, seed ${seed}`);
const server = await startDatabase(database);
try {
  const result = await runOn(server, "servcache_entries", {
    ...{ database, writeMode, seed, operations: Number(values.operations), clients: Number(values.clients) },
    ...{ workers: Number(values.workers), restarts: Number(values.restarts) },
    onProgress: (calls) => console.log(`${calls} calls`),
  });
  for (const violation of result.violations.slice(0, 3)) console.log(shownViolation(violation));
  for (const [reason, count] of result.reasons) console.log(`unknown: ${count} × ${reason}`);
  const keys = result.violations.length;
  console.log(`${result.operations} operations, ${result.unknown} of unknown outcome: ${keys} keys with violations`);
  process.exitCode = keys === 0 ? 0 : 1;
} finally {
  await endServed();
  await server[Symbol.asyncDispose]();
}
