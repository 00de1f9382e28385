import { afterAll, afterEach, beforeAll, beforeEach, describe, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import { isInstalled, type ProgramName } from "./programs.ts";

/** The file to which `npm test` wants what was left out, a JSON object a line. */
export const LEFT_OUT_VARIABLE = "LEFT_OUT_OF_TESTS";

export interface LeftOut {
  readonly file: string;
  readonly needs: string;
}

/**
 * `describe`, `test` and the hooks of `bun:test`, for what can't run without these programs. Where one is missing, none
 * of them runs, and `npm test` names the test file and the program at its end; with `CI=true` they run, and fail.
 */
export function needing(...names: readonly ProgramName[]) {
  const missing = process.env.CI === "true" ? [] : names.filter((name) => !isInstalled(name));
  return runningIf(missing.map((name) => `the program ${name}`));
}

/** The same for what some systems lack or forbid, in CI as well: `needs` names it, say `the right to mount a tmpfs`. */
export function needingThat(isThere: boolean, needs: string) {
  return runningIf(isThere ? [] : [needs]);
}

function runningIf(missing: readonly string[]) {
  const leavesOut = missing.length > 0;
  const list = process.env[LEFT_OUT_VARIABLE];
  if (leavesOut && list !== undefined) {
    const leftOut: LeftOut = { file: relative(process.cwd(), Bun.main), needs: missing.join(", ") };
    appendFileSync(list, `${JSON.stringify(leftOut)}\n`);
  }
  const without = () => {};
  const hooks = leavesOut
    ? { beforeAll: without, beforeEach: without, afterEach: without, afterAll: without }
    : { beforeAll, beforeEach, afterEach, afterAll };
  return { ...hooks, describe: describe.skipIf(leavesOut), test: test.skipIf(leavesOut) };
}
