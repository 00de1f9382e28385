import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Outbox } from "../../src/outbox/outbox.ts";
import { OutboxFullError } from "../../src/outbox/outbox-errors.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, takeAll, textOf } from "../support/test-outbox.ts";

const COUNT = 2000;

/** An outbox of 2,000 entries, closed, in a folder. */
async function filled(folder: string): Promise<string> {
  using opened = openTestOutbox(folder);
  for (let i = 0; i < COUNT; i += 100) {
    await opened.outbox.append(
      Array.from({ length: 100 }, (_, j) => put(`key:${i + j}`, `"${"v".repeat(100)}"`, i + j + 1)),
    );
  }
  return join(folder, "outbox.db");
}

/** The files of a running outbox, as a crash would leave them. */
async function crashed(folder: string): Promise<string> {
  using running = tempFolder();
  {
    using opened = openTestOutbox(running.path);
    for (let i = 0; i < 10; i++) await opened.outbox.append([put(`key:${i}`, "1", i + 1)]);
    for (const name of readdirSync(running.path)) {
      writeFileSync(join(folder, name), readFileSync(join(running.path, name)));
    }
  }
  return join(folder, "outbox.db");
}

function flip(path: string, from: number, length: number): void {
  const bytes = readFileSync(path);
  for (let i = from; i < from + length; i++) bytes[i] = (bytes[i] ?? 0) ^ 0xff;
  writeFileSync(path, bytes);
}

/** Changes every place where `text` stands: SQLite may leave copies in unused space. */
function flipAll(path: string, text: string): void {
  const bytes = readFileSync(path);
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text)) bytes[at] = 0x21;
  writeFileSync(path, bytes);
}

function drained(outbox: Outbox): number {
  const entries = takeAll(outbox);
  for (const entry of entries) expect(textOf(entry)).toBe(`"${"v".repeat(100)}"`);
  return entries.length;
}

describe("a damaged outbox", () => {
  test("a file of garbage is set aside, and that is said", async () => {
    using folder = tempFolder();
    const path = await filled(folder.path);
    flip(path, 0, 200);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings.length).toBe(1);
    expect(opened.outbox.warnings[0]).toContain("is damaged; it was set aside as");
    expect(readdirSync(folder.path).some((name) => name.startsWith("outbox.db.damaged-"))).toBe(true);
    await opened.outbox.append([put("new", "1", 1)]);
    expect(takeAll(opened.outbox).length).toBe(1);
  });

  test("pages in the middle that can't be read cost their rows, not the others", async () => {
    using folder = tempFolder();
    const path = await filled(folder.path);
    const page = Math.floor(readFileSync(path).lastIndexOf("key:1000") / 4096);
    flip(path, 4096 * page, 4096 * 2);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings[0]).toContain("were taken over from it");
    const left = drained(opened.outbox);
    expect(left).toBeGreaterThan(COUNT * 0.8);
    expect(left).toBeLessThan(COUNT);
  });

  test("a cut file is set aside, and what is left of it is taken over", async () => {
    using folder = tempFolder();
    const path = await filled(folder.path);
    truncateSync(path, Math.floor(statSync(path).size / 2 / 4096) * 4096 + 100);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings.length).toBe(1);
    expect(drained(opened.outbox)).toBeLessThan(COUNT);
  });

  test("a value that was changed on disk is never delivered; it becomes a dead letter", async () => {
    using folder = tempFolder();
    const path = await filled(folder.path);
    {
      using opened = openTestOutbox(folder.path);
      await opened.outbox.append([put("marked", '"MARK"', COUNT + 1)]);
    }
    flipAll(path, "MARK");
    using opened = openTestOutbox(folder.path);
    expect(drained(opened.outbox)).toBe(COUNT);
    expect(opened.outbox.dead.list("backend", 0, 10).map((letter) => letter.reason)).toEqual([
      "damaged in the outbox file; it can't be delivered",
    ]);
  });

  test("a file that is gone while writes waited is not taken for a first start", async () => {
    using folder = tempFolder();
    rmSync(await filled(folder.path));
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings[0]).toContain("while 2000 writes waited");
  });

  test("a file whose mark is gone may lack its last commits, and that is said", async () => {
    using folder = tempFolder();
    await filled(folder.path);
    rmSync(join(folder.path, "outbox.mark"));
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings).toEqual([expect.stringContaining("outbox.mark is missing")]);
    expect(drained(opened.outbox)).toBe(COUNT);
  });

  test("that can't be copied for want of room stops the start, and stays where it is", async () => {
    using folder = tempFolder();
    const path = await filled(folder.path);
    const page = Math.floor(readFileSync(path).lastIndexOf("key:1000") / 4096);
    flip(path, 4096 * page, 4096 * 2);
    const open = () => openTestOutbox(folder.path, { limitPages: 20 });
    expect(open).toThrow(/is damaged, and what can be read of it can't be copied: .* make room on its disk/);
    expect(readdirSync(folder.path).filter((name) => name.startsWith("outbox.db."))).toEqual([]);
    using opened = openTestOutbox(folder.path);
    expect(drained(opened.outbox)).toBeGreaterThan(COUNT * 0.8);
  });

  test("of a format of another version stops the start, and is left as it is", async () => {
    using folder = tempFolder();
    const path = await filled(folder.path);
    {
      using database = new Database(path);
      database.run("PRAGMA user_version = 7");
    }
    const open = () => openTestOutbox(folder.path);
    expect(open).toThrow("it has format 7, and this version of ServCache knows format 2 alone");
    expect(open).toThrow("keep the file: it may hold acknowledged writes");
  });

  test("a first start has nothing to warn of", () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings).toEqual([]);
  });
});

describe("the log of an outbox that crashed", () => {
  test("is read to its end where it is whole", async () => {
    using folder = tempFolder();
    await crashed(folder.path);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings).toEqual([]);
    expect(takeAll(opened.outbox).length).toBe(10);
  });

  test("with a cut tail says how many commits are gone, and keeps the others", async () => {
    using folder = tempFolder();
    const log = `${await crashed(folder.path)}-wal`;
    truncateSync(log, statSync(log).size - 10_000);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings[0]).toMatch(/lacks its last [1-9]\d* commits/);
    expect(takeAll(opened.outbox).length).toBeGreaterThan(0);
  });

  test("with flipped bits in the middle says how many commits are gone", async () => {
    using folder = tempFolder();
    const log = `${await crashed(folder.path)}-wal`;
    flip(log, Math.floor(statSync(log).size * 0.9), 8);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings[0]).toMatch(/lacks its last [1-9]\d* commits/);
  });

  test("that was removed is noticed", async () => {
    using folder = tempFolder();
    const log = `${await crashed(folder.path)}-wal`;
    expect(existsSync(log)).toBe(true);
    rmSync(log);
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings.length).toBe(1);
  });
});

describe("the journal of an outbox that crashed", () => {
  test("with a frame that was changed says so, keeps it aside, and delivers the others", async () => {
    using folder = tempFolder();
    using running = tempFolder();
    {
      using opened = openTestOutbox(running.path);
      await opened.outbox.append([put("a", '"first"', 1), put("b", '"MARK"', 2), put("c", '"last"', 3)]);
      for (const name of readdirSync(running.path)) {
        writeFileSync(join(folder.path, name), readFileSync(join(running.path, name)));
      }
    }
    // The log has checksums of its own: what is changed must be in the database itself.
    const database = new Database(join(folder.path, "outbox.db"));
    database.run("UPDATE journal SET frames = CAST(replace(hex(frames), hex('MARK'), hex('!ARK')) AS TEXT)");
    const rows = database.query<{ id: number; frames: string }, []>("SELECT id, frames FROM journal").all();
    for (const { id, frames } of rows) {
      database.run("UPDATE journal SET frames = ? WHERE id = ?", [Buffer.from(frames, "hex"), id]);
    }
    database.close();
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings.length).toBe(1);
    expect(opened.outbox.warnings[0]).toContain("1 groups of waiting writes are damaged");
    expect(takeAll(opened.outbox).map((entry) => entry.key)).toEqual(["a", "c"]);
  });
});

test("a reserve of which a killed process left only a part is made whole at the next start", async () => {
  using folder = tempFolder();
  await filled(folder.path);
  const ballast = join(folder.path, "ballast");
  const wholeBytes = statSync(ballast).size;
  truncateSync(ballast, 1000);
  using _opened = openTestOutbox(folder.path);
  expect(statSync(ballast).size).toBe(wholeBytes);
});

describe("a full disk", () => {
  test("refuses the append, keeps what was there, and goes on when there is room", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path, { limitPages: 100 });
    const { outbox } = opened;
    const accepted: string[] = [];
    let refusal: unknown = null;
    for (let i = 0; refusal === null; i++) {
      try {
        await outbox.append([put(`key:${i}`, "x".repeat(10_000), i + 1)]);
        accepted.push(`key:${i}`);
      } catch (error) {
        refusal = error;
      }
    }
    expect(refusal).toBeInstanceOf(OutboxFullError);
    expect(accepted.length).toBeGreaterThan(10);
    expect(outbox.pendingValue("backend", `key:${accepted.length}`)).toBeNull();
    expect(outbox.newestVersion).toBe(accepted.length);
    expect(() => outbox.append([put("small", "1", 999)])).toThrow("make room on the disk");
    const taken = takeAll(outbox);
    expect(taken.map((entry) => entry.key)).toEqual(accepted);
    await outbox.settle(taken.map((entry) => ({ kind: "done", entry })));
    await opened.scheduler.advance(1_000);
    await outbox.append([put("later", "x".repeat(10_000), 1_000)]);
    expect(takeAll(outbox).map((entry) => entry.key)).toEqual(["later"]);
  });

  test("a version counts as kept only when its commit is done: one that failed is tried again", async () => {
    using folder = tempFolder();
    openTestOutbox(folder.path)[Symbol.dispose]();
    using database = new Database(join(folder.path, "outbox.db"));
    database.run(
      "CREATE TRIGGER full BEFORE UPDATE ON meta WHEN new.number > 1000 BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    database.close();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    for (let tries = 0; tries < 2; tries++) expect(() => outbox.noteVersion(5000)).toThrow("no room");
    expect(outbox.newestVersion).toBe(0);
    outbox.noteVersion(1000);
    expect(outbox.newestVersion).toBe(1000);
  });
});
