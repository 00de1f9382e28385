/**
 * `npm run soak -- --minutes 10 [--only redis|database|peers] [--seed 1]`: real processes and servers under kills, freezes,
 * cut links and wrong clocks, with a checker for what their clients were told. Exit code 1 where anything was wrong.
 */

import { randomOf } from "../support/random.ts";
import { type DatabaseKind, databaseWorld } from "./database-world.ts";
import { peersWorld } from "./peers-world.ts";
import { type RedisTopology, redisWorld } from "./redis-world.ts";
import { newResult, runRounds, type SoakResult } from "./rounds.ts";
import type { World, WorldOptions } from "./world.ts";

type Family = "redis" | "database" | "peers";

const WORLDS: Readonly<Record<Family, readonly ((options: WorldOptions) => Promise<World>)[]>> = {
  redis: (["Sentinel", "cluster", "one server", "one server before SQLite"] satisfies RedisTopology[]).map(
    (topology) => (options: WorldOptions) => redisWorld(topology, options),
  ),
  database: (["PostgreSQL", "MariaDB"] satisfies DatabaseKind[]).flatMap((kind) =>
    (["behind", "through"] as const).map((mode) => (options: WorldOptions) => databaseWorld(kind, mode, options)),
  ),
  peers: [peersWorld],
};

const minutes = Number(option("--minutes") ?? 10);
const only = option("--only");
const seed = Number(option("--seed") ?? Math.floor(Math.random() * 2 ** 31));
if (!(minutes > 0) || (only !== null && !Object.hasOwn(WORLDS, only)) || !Number.isSafeInteger(seed)) {
  console.error("usage: npm run soak -- [--minutes N] [--only redis|database|peers] [--seed N]");
  process.exit(2);
}
console.log(`soak of ${minutes} minutes, --seed ${seed}`);
const random = randomOf(seed);
const nowMs = () => performance.now();
const families = Object.entries(WORLDS).filter(([family]) => only === null || family === only);
let isBad = false;
for (const [family, worlds] of families) {
  const result = newResult();
  for (const start of worlds) {
    const forMs = (minutes * 60_000) / families.length / worlds.length;
    await runWorld(start, forMs, result);
  }
  report(family, result);
  isBad ||= result.wrong.length > 0;
}
process.exit(isBad ? 1 : 0);

async function runWorld(start: (options: WorldOptions) => Promise<World>, forMs: number, result: SoakResult) {
  await using world = await start({ random, nowMs });
  try {
    await runRounds(world, nowMs() + forMs, result, { random, nowMs }, console.log);
  } catch (error) {
    result.wrong.push(`${world.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function report(family: string, result: SoakResult): void {
  const { operations, acknowledged, rounds, faults, doubted, answers, wrong } = result;
  const statuses = [...answers].sort(([one], [other]) => one - other);
  console.log(
    `${family}: ${rounds} rounds, ${faults} faults, ${operations} operations, ${acknowledged} acknowledged writes ` +
      `(${doubted} of them in a failover that may lose them); answers: ` +
      `${statuses.map(([status, count]) => `${status === 0 ? "none" : status} × ${count}`).join(", ")}; ${wrong.length} wrong`,
  );
  for (const what of wrong) console.log(what);
  if (wrong.length > 0) console.log(`repeat with --only ${family} --seed ${seed}`);
}

function option(name: string): string | null {
  const at = process.argv.indexOf(name);
  return at < 0 ? null : (process.argv[at + 1] ?? "");
}
