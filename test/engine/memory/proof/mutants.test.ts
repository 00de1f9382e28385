import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MUTANTS, plant } from "./mutants.ts";

const ENGINE = join(import.meta.dir, "../../../../src/engine/memory");

test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))("the mutant '%s' can be planted", (_, mutant) => {
  const source = readFileSync(join(ENGINE, mutant.file), "utf8");
  expect(plant(mutant, source)).not.toBe(source);
});
