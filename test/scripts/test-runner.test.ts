import { expect, test } from "bun:test";
import { join } from "node:path";
import { tempFolder } from "../support/temp-folder.ts";

const root = join(import.meta.dir, "..", "..");

/** `npm test` of one file, on a machine where no program is in the path. */
function runWithoutPrograms(environment: Readonly<Record<string, string>>) {
  using folder = tempFolder();
  const run = Bun.spawnSync([process.execPath, "scripts/test.ts", join("test", "docs", "examples.test.ts")], {
    cwd: root,
    env: { PATH: folder.path, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { exitCode: run.exitCode, output: run.stdout.toString() + run.stderr.toString() };
}

test("what needs a missing program is skipped and named, and the rest is tested", () => {
  const { exitCode, output } = runWithoutPrograms({});
  expect(output).toContain("SKIPPED, all or in part:\n  without the program curl: test/docs/examples.test.ts\n");
  expect(output).toMatch(/^ 1 pass$/m);
  expect(output).toMatch(/^ 0 fail$/m);
  expect(exitCode).toBe(0);
});

test("in CI a missing program is a failure", () => {
  const { exitCode, output } = runWithoutPrograms({ CI: "true" });
  expect(output).toContain("MISSING: curl, install it to test the examples of the documentation\n");
  expect(output).not.toContain("pass");
  expect(exitCode).toBe(1);
});
