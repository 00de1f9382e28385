import { expect, test } from "bun:test";
import { join } from "node:path";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, takeAll, textOf } from "../support/test-outbox.ts";

const KILLS = 25;

/** Lines of a child's output, killed with SIGKILL when `lines` of them have come and `moreMs` have passed. */
async function linesUntilKilled(command: string[], lines: number, moreMs: number): Promise<string[]> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  let text = "";
  let isDoomed = false;
  for await (const chunk of child.stdout) {
    text += Buffer.from(chunk).toString();
    if (!isDoomed && text.split("\n").length > lines) {
      isDoomed = true;
      setTimeout(() => child.kill("SIGKILL"), moreMs);
    }
  }
  await child.exited;
  return text.split("\n").slice(0, -1);
}

test(`every append that was acknowledged is there after ${KILLS} kills`, async () => {
  using folder = tempFolder();
  const newest = new Map<string, number>();
  let version = 1;
  for (let kill = 0; kill < KILLS; kill++) {
    const command = [process.execPath, join(import.meta.dir, "outbox-writer.ts"), folder.path, String(version)];
    for (const line of await linesUntilKilled(command, 50, (kill * 7) % 40)) {
      expect(line).toMatch(/^[0-9]+$/);
      const acknowledged = Number(line);
      const key = `key:${acknowledged % 500}`;
      newest.set(key, Math.max(newest.get(key) ?? 0, acknowledged));
      version = Math.max(version, acknowledged);
    }
    version += 1000;
  }
  using opened = openTestOutbox(folder.path);
  expect(opened.outbox.warnings).toEqual([]);
  const stored = new Map(takeAll(opened.outbox).map((entry) => [entry.key, Number(textOf(entry))]));
  const lost = [...newest].filter(([key, acknowledged]) => (stored.get(key) ?? 0) < acknowledged);
  expect(lost).toEqual([]);
  expect(newest.size).toBe(500);
}, 300_000);
