import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { withoutValue } from "../../src/model/mutation.ts";
import type { OutboxRow } from "../../src/outbox/entry.ts";
import { OutboxStore, SCHEMA } from "../../src/outbox/outbox-store.ts";
import { salvage } from "../../src/outbox/salvage.ts";
import { JOURNAL_SCHEMA, type Journaled } from "../../src/outbox/write-ahead-log.ts";
import { OutboxParts } from "../support/outbox-parts.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { put, remove, shown } from "../support/test-outbox.ts";

interface Damaged {
  readonly store: OutboxStore;
  readonly run: (sql: string) => void;
}

/** What is rescued of a file that `fill` has written: in the order of the queue. */
function rescued(fill: (damaged: Damaged) => void): string[] {
  using folder = tempFolder();
  using target = new OutboxParts();
  const path = join(folder.path, "damaged.db");
  const database = new Database(path, { create: true });
  database.run(SCHEMA);
  database.run(JOURNAL_SCHEMA);
  const store = new OutboxStore(database);
  fill({ store, run: (sql) => database.run(sql) });
  store.close();
  const count = salvage(path, target.store);
  const keys = target.tableKeys();
  expect(count).toBeGreaterThanOrEqual(keys.length);
  return keys.map((key) => {
    const head = target.store.find("backend", key);
    const entry = head === null ? null : target.store.read(head.id);
    return entry === null ? "?" : shown(entry);
  });
}

/** The mark that a mutation does not wait in the journal any more. */
function gone(row: OutboxRow): Journaled {
  return { ...row, mutation: withoutValue(row.mutation), state: "gone" };
}

describe("of a damaged outbox", () => {
  test("the rows of the table and of the journal are rescued, the newest of each key", () => {
    const found = rescued(({ store }) => {
      store.insert(7, put("a", "table", 1), 10);
      store.insert(9, put("b", "newer", 5), 10);
      store.journal.append(1, 20, [put("c", "1", 2), put("a", "journal", 3)]);
      store.journal.append(2, 30, [put("b", "older", 4), remove("c", 6)]);
    });
    expect(found.sort()).toEqual(["a=journal@3", "b=newer@5", "c=deleted@6"]);
  });

  test("a row whose checksum is wrong is not, and the others are", () => {
    const found = rescued(({ store, run }) => {
      for (const [at, key] of [..."abc"].entries()) store.insert(at + 1, put(key, "v", at + 1), 10);
      run("UPDATE entries SET mutation = x'00' WHERE key = 'b'");
    });
    expect(found).toEqual(["a=v@1", "c=v@3"]);
  });

  test("without one of its tables, the other's rows are", () => {
    const found = rescued(({ store, run }) => {
      store.insert(1, put("a", "v", 1), 10);
      store.journal.append(1, 20, [put("b", "v", 2)]);
      run("DROP TABLE entries");
    });
    expect(found).toEqual(["b=v@2"]);
  });

  test("what was done does not come back, and its mark is no mutation", () => {
    const found = rescued(({ store }) => {
      store.journal.append(1, 20, [put("a", "v", 1), put("b", "v", 2), put("c", "newer", 9)]);
      store.journal.append(2, 30, [gone(put("a", "v", 1)), gone(put("c", "older", 3)), gone(put("d", "v", 4))]);
    });
    expect(found).toEqual(["b=v@2", "c=newer@9"]);
  });

  test("what has a row of its own by now is rescued from there", () => {
    const found = rescued(({ store }) => {
      store.insert(1, put("a", "v", 1), 10);
      store.journal.append(1, 20, [put("a", "v", 1)]);
      store.journal.append(2, 30, [gone(put("a", "v", 1))]);
    });
    expect(found).toEqual(["a=v@1"]);
  });

  test("what was cleared does not come back, but what came later does", () => {
    const found = rescued(({ store }) => {
      store.journal.append(1, 20, [put("a", "v", 1)]);
      store.journal.append(2, 30, [{ ...gone(remove("any", 0)), state: "all-gone" }, put("b", "v", 2)]);
    });
    expect(found).toEqual(["b=v@2"]);
  });
});
