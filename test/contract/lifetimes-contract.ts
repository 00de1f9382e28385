import { describe, expect, test } from "bun:test";
import { NEVER } from "../../src/model/entry.ts";
import type { ContractCalls } from "./contract-calls.ts";

/** Entries end when they should. */
export function testLifetimes(calls: ContractCalls): void {
  const { put, find, textOf, remove, touch, increment, listAll } = calls;

  describe("expiry", () => {
    test("an entry lives until its expiry and not longer", async () => {
      const expiresAtMs = calls.fixture.nowMs() + 150;
      // On a busy machine the answer may come when the time is over.
      const isThereInTime = async () => (await textOf("k")) === "1" || calls.fixture.nowMs() >= expiresAtMs;
      await put("k", "1", { ttlMs: 150 });
      expect(await isThereInTime()).toBe(true);
      await calls.fixture.advanceMs(75);
      expect(await isThereInTime()).toBe(true);
      await calls.fixture.advanceMs(75 + calls.fixture.expiryToleranceMs);
      expect(await textOf("k")).toBeNull();
    });

    test("the expiry that was given is told, to the tolerance", async () => {
      const { fixture } = calls;
      const earliestMs = fixture.nowMs() + 60_000 - fixture.expiryToleranceMs;
      await put("k", "1", { ttlMs: 60_000 });
      const told = (await find("k"))?.info.expiresAtMs ?? 0;
      expect(told).toBeGreaterThanOrEqual(earliestMs);
      expect(told).toBeLessThanOrEqual(fixture.nowMs() + 60_000 + fixture.expiryToleranceMs);
    });

    test("a put without expiry takes the one before away", async () => {
      await put("k", "1", { ttlMs: 40 });
      await put("k", "2");
      await calls.fixture.advanceMs(40 + calls.fixture.expiryToleranceMs);
      expect(await textOf("k")).toBe("2");
    });

    test("an entry that is born expired is absent", async () => {
      await put("k", "1", { ttlMs: -1000 });
      await calls.fixture.advanceMs(calls.fixture.expiryToleranceMs);
      expect(await textOf("k")).toBeNull();
      expect(await remove("k")).toBe("absent");
    });

    test("an expired entry is absent for conditions, touch, delete, increment and scan", async () => {
      for (const key of ["a", "b", "c", "d", "e"]) await put(key, "1", { ttlMs: 20 });
      await calls.fixture.advanceMs(20 + calls.fixture.expiryToleranceMs);
      expect(await put("a", "2", { condition: { kind: "present" } })).toBe("condition-failed");
      expect(await put("b", "2", { condition: { kind: "absent" } })).toBe("stored");
      expect(await touch("c", 1000)).toBe("absent");
      expect(await remove("d")).toBe("absent");
      expect(await increment("e", 5)).toEqual({ kind: "incremented", value: 5 });
      expect((await listAll()).sort()).toEqual(["b", "e"]);
    });
  });

  describe("delete and touch", () => {
    test("delete tells whether there was an entry", async () => {
      await put("k", "1");
      expect(await remove("k")).toBe("deleted");
      expect(await remove("k")).toBe("absent");
      expect(await textOf("k")).toBeNull();
      expect(await put("k", "2")).toBe("stored");
      expect(await textOf("k")).toBe("2");
    });

    test("delete keeps to conditions", async () => {
      expect(await remove("k", { kind: "present" })).toBe("condition-failed");
      await put("k", "1");
      expect(await remove("k", { kind: "absent" })).toBe("condition-failed");
      expect(await remove("k", { kind: "present" })).toBe("deleted");
    });

    test("touch sets another expiry, or none, and leaves value and content type", async () => {
      expect(await touch("k", 1000)).toBe("absent");
      await put("k", "text", { contentType: "text/plain", ttlMs: 1000 });
      expect(await touch("k", 120_000)).toBe("touched");
      await calls.fixture.advanceMs(1000 + calls.fixture.expiryToleranceMs);
      const entry = await find("k");
      expect(entry?.bytes.toString()).toBe("text");
      expect(entry?.info.attributes.contentType).toBe("text/plain");
      expect((entry?.info.expiresAtMs ?? 0) - calls.fixture.nowMs()).toBeGreaterThan(100_000);
      expect(await touch("k", null)).toBe("touched");
      expect((await find("k"))?.info.expiresAtMs).toBe(NEVER);
      expect(await touch("k", 20)).toBe("touched");
      await calls.fixture.advanceMs(20 + calls.fixture.expiryToleranceMs);
      expect(await textOf("k")).toBeNull();
    });
  });
}
