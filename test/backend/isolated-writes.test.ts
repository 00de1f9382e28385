import { describe, expect, test } from "bun:test";
import type { BackendRow, RowResult } from "../../src/backend/backend.ts";
import { IsolatedWrites, Witnesses } from "../../src/backend/sql/isolated-writes.ts";
import type { RunSql, SqlMapping } from "../../src/backend/sql/mapping.ts";
import { postgresDialect } from "../../src/backend/sql/postgres-dialect.ts";
import { jsonRow } from "../contract/backend-contract.ts";

/** A table in memory: each statement takes all its rows or none. */
class FakeTable implements SqlMapping {
  readonly probe = null;
  readonly create = [];
  readonly loadBatchKeys = 1;
  readonly writeBatchRows = 1000;
  readonly comparesVersions = true;
  readonly hasBytesForm = false;
  readonly refused = new Set<string>();
  /** SQLSTATE of what refused rows are answered with. */
  sqlState = "42846";
  isAllRefused = false;
  statements = 0;

  async load() {
    return [];
  }

  async put(_run: RunSql, rows: readonly BackendRow[]): Promise<RowResult[]> {
    this.statements += 1;
    if (this.isAllRefused || rows.some((row) => this.refused.has(row.key))) {
      throw Object.assign(new Error("no such cast"), { errno: this.sqlState });
    }
    return rows.map(() => ({ kind: "written" }));
  }

  remove = this.put;
}

const NO_ROWS = { rows: [], columns: [], count: 0 };

async function writeTo(table: FakeTable, rows: readonly BackendRow[], witnesses = new Witnesses()) {
  const results = new Map<string, RowResult>();
  const writes = new IsolatedWrites(
    { run: async () => NO_ROWS, dialect: postgresDialect, mapping: table, witnesses, onDoubt: () => {} },
    results,
  );
  const thrown = await writes.write(rows).catch((error: unknown) => error);
  writes.decide();
  return { results, thrown };
}

const manyRows = (count: number) => Array.from({ length: count }, (_, i) => jsonRow(`k:${i}`, "1", i + 1));

describe("rows to blame for a failed statement", () => {
  test("are found by halving: 5 of 500 in fewer statements than 5 times twice the depth", async () => {
    const table = new FakeTable();
    for (const i of [3, 111, 222, 333, 499]) table.refused.add(`k:${i}`);
    const { results } = await writeTo(table, manyRows(500));
    const kinds = [...results.values()].map((result) => result.kind);
    expect(kinds.filter((kind) => kind === "refused").length).toBe(5);
    expect(kinds.filter((kind) => kind === "written").length).toBe(495);
    expect(table.statements).toBeLessThanOrEqual(5 * 2 * Math.ceil(Math.log2(500)));
  });

  test("are blamed whatever the server calls it, where an earlier row still passes", async () => {
    const table = new FakeTable();
    const witnesses = new Witnesses();
    await writeTo(table, [jsonRow("good", "1", 1)], witnesses);
    table.refused.add("bad");
    const { results } = await writeTo(table, [jsonRow("bad", "1", 2)], witnesses);
    expect(results.get("bad")).toEqual({ kind: "refused", reason: "no such cast" });
  });

  test("are not there when everything fails: three statements say so, and nothing is refused", async () => {
    const table = new FakeTable();
    const witnesses = new Witnesses();
    await writeTo(table, [jsonRow("good", "1", 1)], witnesses);
    table.isAllRefused = true;
    table.statements = 0;
    for (const sqlState of ["42501", "23514", "42P01"]) {
      table.sqlState = sqlState;
      const { results, thrown } = await writeTo(table, manyRows(500), witnesses);
      expect(thrown).toBeInstanceOf(Error);
      expect(results.size).toBe(0);
    }
    expect(table.statements).toBe(3 * 2);
  });

  test("are not blamed on a new node before anything passed, and it does not try them all", async () => {
    const table = new FakeTable();
    table.isAllRefused = true;
    const { results, thrown } = await writeTo(table, manyRows(500));
    expect(thrown).toBeInstanceOf(Error);
    expect(results.size).toBe(0);
    expect(table.statements).toBeLessThan(32);
  });

  for (const sqlState of ["53300", "53100", "25006", "55P03", "40001", "40P01", "57014"]) {
    test(`are not looked for where the server can't now: ${sqlState}`, async () => {
      const table = new FakeTable();
      const witnesses = new Witnesses();
      await writeTo(table, [jsonRow("good", "1", 1)], witnesses);
      table.sqlState = sqlState;
      table.refused.add("k:7");
      table.statements = 0;
      const { results } = await writeTo(table, manyRows(100), witnesses);
      expect([table.statements, results.size]).toEqual([1, 0]);
    });
  }
});
