/** `npm run simulate -- --seeds 100000 [--from 1]`: prints every seed that ends in a state that the rule forbids. */
import { simulate } from "./simulation.ts";

const seeds = numberOf("--seeds", 1000);
const from = numberOf("--from", 1);
const startMs = Date.now();
let bad = 0;
let present = 0;
let possible = 0;
let repairs = 0;
for (let seed = from; seed < from + seeds; seed++) {
  const result = await simulate(seed, { isTraced: seeds === 1 });
  present += result.present;
  possible += result.possible;
  repairs += result.repairs;
  if (result.faults.length > 0) {
    bad += 1;
    console.log(`seed ${seed}: ${result.faults.join("; ")}`);
    if (seeds === 1) console.log(result.log.join("\n"));
  }
  if (seed % 1000 === 0)
    console.log(`${seed - from + 1} seeds, ${bad} bad, ${Math.round((Date.now() - startMs) / 1000)} s`);
}
const share = Math.round((present / Math.max(1, possible)) * 100);
console.log(`${seeds} seeds: ${bad} bad; ${share} % of what could be there is; ${repairs} repairs`);
process.exit(bad === 0 ? 0 : 1);

function numberOf(flag: string, fallback: number): number {
  const at = process.argv.indexOf(flag);
  const value = at < 0 ? fallback : Number(process.argv[at + 1]);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${flag} is to be a whole number from 1`);
  return value;
}
