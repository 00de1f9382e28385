/** Runs a world in rounds: load and faults, then peace, then judgement. */

import { History } from "../support/history.ts";
import { describeViolation, violationsIn } from "./checker.ts";
import { readAll } from "./read-all.ts";
import { startWorkload } from "./workload.ts";
import { between, type World, type WorldOptions } from "./world.ts";

export interface SoakResult {
  operations: number;
  acknowledged: number;
  rounds: number;
  faults: number;
  /** Writes that the store behind the nodes may have lost by its own rules. */
  doubted: number;
  readonly answers: Map<number, number>;
  readonly wrong: string[];
}

const ROUND_MS = 20_000;
const CLIENTS_PER_NODE = 8;
/** Violations of a round that are printed whole. */
const SHOWN = 5;

export function newResult(): SoakResult {
  return { operations: 0, acknowledged: 0, rounds: 0, faults: 0, doubted: 0, answers: new Map(), wrong: [] };
}

/** Rounds until `untilMs` of the options' clock; ends with the first round that finds something wrong. */
export async function runRounds(
  world: World,
  untilMs: number,
  result: SoakResult,
  options: WorldOptions,
  log: (line: string) => void,
): Promise<void> {
  const before = result.wrong.length;
  for (let round = 0; options.nowMs() < untilMs && result.wrong.length === before; round++) {
    const happened = await runRound(world, round, Math.min(ROUND_MS, untilMs - options.nowMs()), result, options);
    const state = result.wrong.length === before ? "ok" : "WRONG";
    log(`${world.name}, round ${round}: ${state}; ${happened.join(", ")}`);
  }
}

async function runRound(
  world: World,
  round: number,
  forMs: number,
  result: SoakResult,
  options: WorldOptions,
): Promise<string[]> {
  const { random, nowMs } = options;
  const history = new History(nowMs);
  const loads = world.nodes.map(({ name, port }, at) =>
    startWorkload({
      ...world.keysOf(round, at),
      history,
      random,
      node: name,
      port,
      clients: CLIENTS_PER_NODE,
      patternsMayMiss: world.patternsMayMiss,
    }),
  );
  const happened: string[] = [];
  const endMs = nowMs() + forMs;
  try {
    while (nowMs() < endMs) {
      const fault = world.faults[Math.floor(random() * world.faults.length)];
      if (fault === undefined) throw new Error(`${world.name} has no faults`);
      happened.push(fault.name);
      await fault.run(history);
      await Bun.sleep(between(random, 100, 1_500));
    }
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
  await world.settle();
  const keys = [...new Set(world.nodes.flatMap((_, at) => [...world.keysOf(round, at).reads]))];
  for (const { name, port } of world.nodes) await readAll(history, name, port, keys);
  const others = await world.finalChecks(history, keys);
  judge(world, history, others, result);
  result.rounds += 1;
  result.faults += happened.length;
  for (const load of loads) {
    for (const [status, count] of load.answers) result.answers.set(status, (result.answers.get(status) ?? 0) + count);
    result.wrong.push(...load.oddities.slice(0, SHOWN));
  }
  return happened;
}

function judge(world: World, history: History, others: readonly string[], result: SoakResult): void {
  const violations = violationsIn(history.operations, world.rules);
  result.operations += history.operations.length;
  result.acknowledged += history.operations.filter(({ kind, outcome }) => kind !== "get" && outcome === "ok").length;
  result.doubted += history.doubted;
  result.wrong.push(...others, ...violations.slice(0, SHOWN).map(describeViolation));
  if (violations.length > SHOWN) result.wrong.push(`and ${violations.length - SHOWN} more`);
}
