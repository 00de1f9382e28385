import { expect, test } from "bun:test";
import { CONDITIONS_FROM, simulate } from "./simulation.ts";

const SEEDS = 200;
const TIMEOUT_MS = 3_600_000;

test.each([
  ["puts, touches, deletes and clears", 1],
  ["conditional writes and counters beside them", CONDITIONS_FROM],
])(
  `with %s, after the faults of ${SEEDS} seeds every key on every node is absent or the newest`,
  async (_, first) => {
    const bad: string[] = [];
    for (let seed = first; seed < first + SEEDS; seed++) {
      const { faults } = await simulate(seed);
      if (faults.length > 0) bad.push(`npm run simulate -- --seeds 1 --from ${seed}: ${faults.join("; ")}`);
    }
    expect(bad).toEqual([]);
  },
  TIMEOUT_MS,
);

/** Each found something: in the code, or in the model of what is around it. */
const FOUND_SOMETHING = [
  50_519, 50_692, 206_862, 301_806, 303_475, 310_536, 704_658, 709_029, 903_902, 907_911, 1_303_614, 2_003_463,
  2_004_169,
];

test.each(FOUND_SOMETHING)("the rule holds after the faults of seed %d, which broke it once", async (seed) => {
  expect((await simulate(seed)).faults).toEqual([]);
});

test("a seed replays exactly", async () => {
  const logOf = async (seed: number) => (await simulate(seed, { isTraced: true })).log;
  for (const seed of [3, 130, 740]) expect(await logOf(seed)).toEqual(await logOf(seed));
});
