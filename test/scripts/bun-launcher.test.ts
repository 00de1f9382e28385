import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = join(import.meta.dir, "..", "..");

describe("the launcher of the pinned Bun", () => {
  let house = "";
  beforeEach(() => {
    house = mkdtempSync(join(tmpdir(), "servcache-launcher-"));
    place("scripts", "bun.mjs", (file) => copyFileSync(join(root, "scripts", "bun.mjs"), file));
  });
  afterEach(() => rmSync(house, { recursive: true }));

  test("runs the installed executable and ends with its exit code", () => {
    place("node_modules/bun/bin", "bun.exe", (file) => symlinkSync(process.execPath, file));
    expect(launch("-e", "process.exit(7)")).toMatchObject({ exitCode: 7 });
  });

  test("runs the platform's package where the install script left a stub", () => {
    place("node_modules/bun/bin", "bun.exe", (file) => writeExecutable(file, "echo not installed >&2; exit 1"));
    place("node_modules/@oven/bun-another-platform/bin", "bun", (file) => writeExecutable(file, "exit 126"));
    place("node_modules/@oven/bun-this-platform/bin", "bun", (file) => symlinkSync(process.execPath, file));
    expect(launch("-e", "console.log(Bun.version)")).toEqual({ exitCode: 0, stdout: `${Bun.version}\n`, stderr: "" });
  });

  test("says what to do where nothing is installed", () => {
    expect(launch("--version")).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: "Bun is not installed here: run `npm ci` in the project's folder first\n",
    });
  });

  test("gives the exit code of a shell where a signal ended Bun", () => {
    place("node_modules/bun/bin", "bun.exe", (file) => symlinkSync(process.execPath, file));
    expect(launch("-e", "process.kill(process.pid, 'SIGKILL')")).toMatchObject({ exitCode: 137 });
  });

  function place(folder: string, name: string, make: (file: string) => void): void {
    const file = join(house, folder, name);
    mkdirSync(dirname(file), { recursive: true });
    make(file);
  }

  function launch(...args: string[]): { exitCode: number; stdout: string; stderr: string } {
    const run = Bun.spawnSync(["node", join(house, "scripts", "bun.mjs"), ...args]);
    return { exitCode: run.exitCode, stdout: run.stdout.toString(), stderr: run.stderr.toString() };
  }
});

function writeExecutable(file: string, script: string): void {
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}
