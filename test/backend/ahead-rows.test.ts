/** Rows of versions ahead of a node's clock keep no acknowledged write out of the database. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { createBackend } from "../../src/backend/create-backend.ts";
import { DAY_MS, TOLERANCE_MS } from "../../src/backend/sql/ahead-rows.ts";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import { deleteRow, jsonRow, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { startPostgres } from "../support/postgres.ts";
import { tempFolder } from "../support/temp-folder.ts";

const IN_TIME = { timeoutMs: 60_000 };
const NOW_MS = Date.UTC(2026, 5, 1);
const HOUR_MS = 3_600_000;
const HUGE = Number.MAX_SAFE_INTEGER;

/** A node whose clock stands still, before a database in which others have written. */
async function world(url: string, toleranceMs = TOLERANCE_MS) {
  const versions = HybridClock.create(() => NOW_MS);
  const table = `t${crypto.randomUUID().replaceAll("-", "")}`;
  const others = createBackend(backendSettings(url, { table }));
  const rows = [
    jsonRow("hour", '"other"', versionAt(NOW_MS + HOUR_MS)),
    jsonRow("hour 2", '"other"', versionAt(NOW_MS + HOUR_MS)),
    jsonRow("huge", '"other"', HUGE),
    jsonRow("newer", '"other"', versionAt(NOW_MS + TOLERANCE_MS / 2)),
  ];
  expect((await others.write(rows, IN_TIME)).map(({ kind }) => kind)).toEqual(rows.map(() => "written"));
  await others.close();
  const aheadRows = { versions, nowMs: () => NOW_MS, toleranceMs };
  return { backend: createBackend(backendSettings(url, { table, aheadRows })), versions };
}

function testAheadRows(url: () => string): void {
  test.each(["put", "delete"] as const)("a %s replaces them, and nothing that is newer by right", async (kind) => {
    const { backend, versions } = await world(url());
    const keys = ["hour", "huge", "newer", "free"];
    const rows = keys.map((key) =>
      kind === "put" ? jsonRow(key, '"mine"', versions.next()) : deleteRow(key, versions.next()),
    );
    const results = await backend.write(rows, IN_TIME);
    expect(results.map((result) => result.kind)).toEqual(["written", "written", "superseded", "written"]);
    const mine = kind === "put" ? '"mine"' : "absent";
    expect((await backend.load(keys, IN_TIME)).map(textOf)).toEqual([mine, mine, '"other"', mine]);
    expect(backend.problem).toContain("2 were replaced, 0 kept a write out; set the clock right");
    await backend.close();
  });

  test("the next stamps pass what is less than a day ahead, and a row keeps the stamp of its write", async () => {
    const { backend, versions } = await world(url());
    const first = versions.next();
    await backend.write([jsonRow("hour", '"mine"', first), jsonRow("huge", '"mine"', first)], IN_TIME);
    const next = versions.next();
    expect(next).toBeGreaterThan(versionAt(NOW_MS + HOUR_MS));
    expect(next).toBeLessThan(versionAt(NOW_MS + DAY_MS));
    // Newer than the first stamp by the least that there is.
    expect(await backend.write([jsonRow("hour", '"newer"', first + 1)], IN_TIME)).toEqual([{ kind: "written" }]);
    await backend.close();
  });

  test("what the node wrote after it had learned gives way to nothing older", async () => {
    const { backend, versions } = await world(url());
    const before = versions.next();
    await backend.write([jsonRow("hour", '"mine"', versions.next())], IN_TIME);
    const late = versions.next();
    const newest = versions.next();
    expect(await backend.write([jsonRow("k", '"newest"', newest)], IN_TIME)).toEqual([{ kind: "written" }]);
    for (const older of [before, late]) {
      const results = await backend.write([jsonRow("k", '"older"', older)], IN_TIME);
      expect(results).toEqual([{ kind: "superseded", version: newest }]);
    }
    // Rows of others give way to stamps of before and of after.
    expect((await backend.write([jsonRow("hour 2", '"mine"', before)], IN_TIME))[0]?.kind).toBe("written");
    expect((await backend.write([jsonRow("huge", '"mine"', versions.next())], IN_TIME))[0]?.kind).toBe("written");
    await backend.close();
  });

  test("with peers, whose stamps may be ahead, less than a day is told and not replaced", async () => {
    const { backend, versions } = await world(url(), DAY_MS);
    const stamp = versions.next();
    const rows = [jsonRow("hour", '"mine"', stamp), jsonRow("huge", '"mine"', stamp)];
    expect((await backend.write(rows, IN_TIME)).map((result) => result.kind)).toEqual(["superseded", "written"]);
    expect(backend.problem).toContain("1 were replaced, 1 kept a write out");
    expect(await backend.write([jsonRow("hour", '"mine"', versions.next())], IN_TIME)).toEqual([{ kind: "written" }]);
    await backend.close();
  });
}

describe("rows ahead of the clock in SQLite", () => {
  const folder = tempFolder();
  testAheadRows(() => `sqlite:${join(folder.path, "shop.db")}`);
  needing().afterAll(() => folder[Symbol.dispose]());
});

for (const [name, program, start] of [
  ["PostgreSQL", "postgres", startPostgres],
  ["MariaDB", "mariadbd", startMariaDb],
] as const) {
  const { afterAll, beforeAll, describe } = needing(program);
  describe(`rows ahead of the clock in ${name}`, () => {
    let server: Awaited<ReturnType<typeof start>>;
    beforeAll(async () => {
      server = await start();
    }, 300_000);
    afterAll(() => server[Symbol.asyncDispose]());
    testAheadRows(() => server.url);
  });
}
