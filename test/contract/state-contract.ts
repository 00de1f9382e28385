import { describe, expect, test } from "bun:test";
import type { Version } from "../../src/model/stamp.ts";
import { globPattern } from "../support/glob-pattern.ts";
import type { ContractCalls } from "./contract-calls.ts";

/** What an engine tells of itself, and the version rule. */
export function testState(calls: ContractCalls): void {
  const { stamp, reserve, put, find, textOf, remove, touch, listAll } = calls;

  describe("stats and health", () => {
    test("counts of hits, misses, sets and deletes grow with the calls", async () => {
      const before = await calls.engine.stats();
      await put("a", "1");
      await put("b", "1");
      await find("a");
      await find("nobody");
      await remove("a");
      await calls.engine.deleteMatching(globPattern("b"), stamp());
      const after = await calls.engine.stats();
      expect(after.sets - before.sets).toBe(2);
      expect(after.hits - before.hits).toBe(1);
      expect(after.misses - before.misses).toBe(1);
      expect(after.deletes - before.deletes).toBe(2);
    });

    test("entries are those that are stored", async () => {
      const before = (await calls.engine.stats()).entries;
      for (let i = 0; i < 10; i++) await put(`k${i}`, "1");
      expect((await calls.engine.stats()).entries - before).toBe(10);
    });

    test("is healthy", () => {
      expect(calls.engine.health().status).toBe("ok");
    });
  });

  describe("versions", () => {
    const versioned = () => calls.fixture.versioned;

    test("an older put never replaces a newer one", async () => {
      reserve(10);
      await put("k", "1");
      const outcome = await put("k", "0", { stamp: stamp(5) });
      expect([outcome, await textOf("k")]).toEqual(versioned() ? ["superseded", "1"] : ["stored", "0"]);
    });

    test("the node id breaks ties", async () => {
      const { version } = stamp();
      await put("k", '"low"', { stamp: { version, nodeId: 5 } });
      expect(await put("k", '"high"', { stamp: { version, nodeId: 0xffff_ffff } })).toBe("stored");
      const outcome = await put("k", '"low again"', { stamp: { version, nodeId: 5 } });
      expect(outcome).toBe(versioned() ? "superseded" : "stored");
    });

    test("the same put a second time changes nothing", async () => {
      const same = stamp();
      expect(await put("k", "1", { stamp: same })).toBe("stored");
      await put("k", "1", { stamp: same });
      expect(await textOf("k")).toBe("1");
    });

    test("an older delete leaves a newer entry", async () => {
      reserve(10);
      await put("k", "1");
      expect(await remove("k", null, stamp(5))).toBe(versioned() ? "superseded" : "deleted");
    });

    test("a touch leaves the entry its stamp and its revision: what is newer than the put is newer still", async () => {
      reserve(10);
      await put("k", "1");
      const before = await find("k");
      expect(await touch("k", 60_000)).toBe("touched");
      expect(await touch("k", null)).toBe("touched");
      expect(await touch("k", 60_000)).toBe("touched");
      const after = await find("k");
      expect(after?.info.revision).toBe(before?.info.revision ?? Number.NaN);
      expect(after?.info.expiresAtMs).toBeGreaterThan(0);
      expect(await put("k", "2")).toBe("stored");
      expect(await textOf("k")).toBe("2");
    });

    test("a touch of another entry than the one that is there does nothing", async () => {
      if (!versioned()) return;
      const [older, own, newer] = [stamp(), stamp(), stamp()];
      await put("k", "1", { stamp: own });
      expect(await touch("k", 60_000, null, older)).toBe("absent");
      expect(await touch("k", 60_000, null, newer)).toBe("absent");
      expect((await find("k"))?.info.expiresAtMs).toBe(0);
      expect(await touch("k", 60_000, null, own)).toBe("touched");
      expect((await find("k"))?.info.expiresAtMs).toBeGreaterThan(0);
    });

    test("a delete that is remembered refuses older puts until its time is over", async () => {
      reserve(20);
      await put("k", "1");
      expect(await remove("k", null, stamp(), calls.fixture.nowMs() + 60_000)).toBe("deleted");
      const outcome = await put("k", "0", { stamp: stamp(10) });
      expect(outcome).toBe(versioned() ? "superseded" : "stored");
      expect(await put("k", "2")).toBe("stored");
      expect(await textOf("k")).toBe("2");
      expect(await listAll()).toEqual(["k"]);
    });

    test("a delete of nothing is remembered as well", async () => {
      reserve(20);
      expect(await remove("k", null, stamp(), calls.fixture.nowMs() + 60_000)).toBe("absent");
      expect(await listAll()).toEqual([]);
      expect(await put("k", "0", { stamp: stamp(10) })).toBe(versioned() ? "superseded" : "stored");
    });

    test("a clear refuses older puts and leaves newer entries", async () => {
      reserve(20);
      const cleared = stamp(10);
      await put("old", "1", { stamp: stamp(15) });
      await put("new", "2");
      const deleted = await calls.engine.clear(cleared);
      expect([deleted, await textOf("new")]).toEqual(versioned() ? [1, "2"] : [2, null]);
      expect(await put("old", "1", { stamp: stamp(18) })).toBe(versioned() ? "superseded" : "stored");
    });

    test("a delete by pattern leaves newer entries", async () => {
      reserve(20);
      const pattern = globPattern("p:*");
      await put("p:old", "1", { stamp: stamp(15) });
      await put("p:new", "2");
      const deleted = await calls.engine.deleteMatching(pattern, stamp(10));
      expect(deleted).toBe(versioned() ? 1 : 2);
      expect(await textOf("p:new")).toBe(versioned() ? "2" : null);
    });

    test("the version and the node id that were given come back, and the revision is the version", async () => {
      if (!versioned()) return;
      const given = stamp(0, 0xdead_beef);
      await put("k", "1", { stamp: given });
      expect((await find("k"))?.info.stamp).toEqual(given);
      expect((await find("k"))?.info.revision).toBe(given.version);
    });

    test("versions use all of a safe integer", async () => {
      if (!versioned()) return;
      const far = (2 ** 52) as Version;
      await put("far", "1", { stamp: { version: (far + 1) as Version, nodeId: 1 } });
      expect((await find("far"))?.info.stamp.version).toBe((far + 1) as Version);
      expect(await put("far", "0", { stamp: { version: far, nodeId: 1 } })).toBe("superseded");
      expect(await remove("far", null, { version: (far + 2) as Version, nodeId: 1 })).toBe("deleted");
    });
  });
}
