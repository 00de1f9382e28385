/**
 * `npm run race -- [--gets N] [--seed N] [--engine PATH]`: readers against writers, on threads of their own, until so many
 * gets are done; by default 20 million. Exit code 1 where a value was wrong. `--engine` names the file `memory-engine.ts`
 * of another build.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ENGINE_PATH, race } from "./race.ts";

const { values } = parseArgs({
  options: {
    gets: { type: "string", default: "20000000" },
    seed: { type: "string", default: "1" },
    engine: { type: "string", default: ENGINE_PATH },
  },
});
const gets = Number(values.gets);
const seed = Number(values.seed);
if (!(Number.isSafeInteger(gets) && gets > 0 && Number.isSafeInteger(seed))) {
  console.error("usage: npm run race -- [--gets N] [--seed N] [--engine PATH]");
  process.exit(2);
}
const rounds = (["crossing", "all"] as const).flatMap((sizes) =>
  [2, 4].flatMap((readers) => [1, 2].map((writers) => ({ sizes, readers, writers }))),
);
const total = { gets: 0, hits: 0, wrong: 0 };
for (const round of rounds) {
  const enginePath = resolve(values.engine);
  const result = await race({ ...round, gets: Math.ceil(gets / rounds.length), seed, enginePath });
  total.gets += result.gets;
  total.hits += result.hits;
  total.wrong += result.wrong;
  const who = `${round.readers} readers, ${round.writers} writers, ${round.sizes} sizes`;
  const { hits, puts, refused, evictions, wrong } = result;
  const written = `${puts} puts (${refused} refused), ${evictions} evictions`;
  console.log(`${who}: ${result.gets} gets, ${hits} hits, ${written}, ${wrong} wrong`);
  for (const fault of result.faults) console.log(`  ${fault}`);
}
console.log(`${total.gets} gets, ${total.hits} hits, ${total.wrong} wrong`);
process.exit(total.wrong === 0 ? 0 : 1);
