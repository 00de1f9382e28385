import { describe, expect, test } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SessionLedger } from "../../src/backend/sql/session-ledger.ts";
import { tempFolder } from "../support/temp-folder.ts";

const name = (i: number) => `servcache-${i.toString(16).padStart(24, "0")}`;

describe("the names of sessions that may not be over", () => {
  test("are there at the next start until they are removed", () => {
    using folder = tempFolder();
    const path = join(folder.path, "sessions");
    const first = new SessionLedger(path);
    for (const i of [1, 2, 3]) first.add(name(i));
    first.remove(name(2));
    expect(new SessionLedger(path).names()).toEqual([name(1), name(3)]);
    first.close();
  });

  test("never need more room than the first one, and are refused beyond it", () => {
    using folder = tempFolder();
    const path = join(folder.path, "sessions");
    const ledger = new SessionLedger(path);
    ledger.add(name(0));
    const { size } = statSync(path);
    for (let i = 1; i < 128; i++) ledger.add(name(i));
    expect(() => ledger.add(name(128))).toThrow("128 earlier sessions");
    ledger.remove(name(5));
    ledger.add(name(128));
    expect(statSync(path).size).toBe(size);
    expect(new SessionLedger(path).names()).toHaveLength(128);
    ledger.close();
  });

  test("are not lost with a damaged neighbour, and garbage is no name", () => {
    using folder = tempFolder();
    const path = join(folder.path, "sessions");
    const ledger = new SessionLedger(path);
    for (const i of [1, 2, 3]) ledger.add(name(i));
    ledger.close();
    const bytes = readFileSync(path);
    bytes.fill(0xff, 64, 128);
    writeFileSync(path, bytes);
    expect(new SessionLedger(path).names()).toEqual([name(1), name(3)]);
  });

  test("that can't be kept are refused", () => {
    const ledger = new SessionLedger("/proc/none/sessions");
    expect(() => ledger.add(name(1))).toThrow();
    expect(ledger.names()).toEqual([]);
  });
});
