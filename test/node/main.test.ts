import { afterEach, describe, expect, test } from "bun:test";
import manifest from "../../package.json" with { type: "json" };
import { serveHelp } from "../../src/config/help.ts";
import { endServed, runMain } from "../support/serve.ts";

afterEach(endServed);

describe("the command line", () => {
  test.each([["--version"], ["version"]])("%s prints the version", async (command) => {
    const { exitCode, stdout, stderr } = await runMain([command]);
    expect([exitCode, stdout, stderr]).toEqual([0, `servcache ${manifest.version}\n`, ""]);
  });

  test.each([["help"], ["--help"], ["-h"]])("%s prints the commands", async (command) => {
    const { exitCode, stdout, stderr } = await runMain([command]);
    expect([exitCode, stdout.split("\n", 1), stderr]).toEqual([0, ["Usage: servcache <command>"], ""]);
  });

  test("serve --help prints every flag and starts nothing", async () => {
    const { exitCode, stdout, stderr } = await runMain(["serve", "--help"]);
    expect([exitCode, stdout, stderr]).toEqual([0, serveHelp(), ""]);
  });

  test.each([[["sevre"]], [[]]])("%p is a usage error", async (args) => {
    const { exitCode, stdout, stderr } = await runMain(args);
    expect([exitCode, stdout, stderr.split("\n", 1)]).toEqual([2, "", ["Usage: servcache <command>"]]);
  });

  test("a value that can't be used stops the start with one line and exit code 2", async () => {
    const { exitCode, stdout, stderr } = await runMain(["serve"], { SERV_CACHE_WORKERS: "many" });
    expect([exitCode, stdout, stderr]).toEqual([
      2,
      "",
      'servcache: SERV_CACHE_WORKERS is "many", expected a whole number from 1 to 64\n',
    ]);
  });

  test("an unknown flag stops the start with one line and exit code 2", async () => {
    const { exitCode, stdout, stderr } = await runMain(["serve", "--wrokers=2"]);
    expect([exitCode, stdout, stderr]).toEqual([
      2,
      "",
      'servcache: "--wrokers=2" is not a flag of serve; see servcache serve --help\n',
    ]);
  });
});
