/** Each key of a node before a database behaves as one register, as far as its clients can tell. Small; see main.ts. */
import { afterEach, expect, test } from "bun:test";
import { printedSeed } from "../support/random.ts";
import { endServed } from "../support/serve.ts";
import { shownViolation } from "./history.ts";
import { runOn, startDatabase } from "./run.ts";

const LONG_MS = 240_000;

afterEach(endServed);

test.each(["postgres", "mariadb"] as const)(
  "a node before %s is linearizable per key, in both write modes and through restarts of the database",
  async (database) => {
    const seed = printedSeed("linearizability");
    await using server = await startDatabase(database);
    for (const writeMode of ["behind", "through"] as const) {
      const size = { operations: 4_000, clients: 16, workers: 2, restarts: 1 };
      const result = await runOn(server, `entries_${writeMode}`, { database, writeMode, seed, ...size });
      expect(result.violations.map((violation) => shownViolation(violation))).toEqual([]);
      // Else the run was too tame to say anything.
      expect(result.operations).toBeGreaterThan(2_000);
    }
  },
  LONG_MS,
);
