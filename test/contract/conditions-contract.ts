import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import type { ContractCalls } from "./contract-calls.ts";

/** Mutations that depend on what is stored. */
export function testConditions(calls: ContractCalls): void {
  const { put, find, textOf, tagOf, remove, touch, increment } = calls;

  describe("conditions", () => {
    test("absent and present", async () => {
      expect(await put("k", "1", { condition: { kind: "present" } })).toBe("condition-failed");
      expect(await textOf("k")).toBeNull();
      expect(await put("k", "2", { condition: { kind: "absent" } })).toBe("stored");
      expect(await put("k", "3", { condition: { kind: "absent" } })).toBe("condition-failed");
      expect(await put("k", "4", { condition: { kind: "present" } })).toBe("stored");
      expect(await textOf("k")).toBe("4");
    });

    test("a revision names the state that was read", async () => {
      await put("k", "1");
      const before = await tagOf("k");
      expect(await tagOf("k")).toBe(before);
      expect(Number.isSafeInteger(before)).toBe(true);
      expect(await put("k", "2", { condition: { kind: "revision-in", revisions: [7, before] } })).toBe("stored");
      expect(await tagOf("k")).not.toBe(before);
      expect(await put("k", "3", { condition: { kind: "revision-in", revisions: [before] } })).toBe("condition-failed");
      expect(await remove("k", { kind: "revision-in", revisions: [before] })).toBe("condition-failed");
      expect(await touch("k", 9000, { kind: "revision-in", revisions: [before] })).toBe("condition-failed");
      expect(await remove("k", { kind: "revision-in", revisions: [await tagOf("k")] })).toBe("deleted");
    });

    test("each write gives another revision, of the same value too, and a touch leaves it", async () => {
      for (const contentType of [JSON_CONTENT_TYPE, "text/plain"]) {
        const revisions: number[] = [];
        const note = async () => revisions.push(await tagOf("k"));
        await put("k", "7", { contentType });
        await note();
        await put("k", "8", { contentType });
        await put("k", "7", { contentType });
        await note();
        expect(await touch("k", 60_000)).toBe("touched");
        expect(await tagOf("k")).toBe(revisions[1] ?? Number.NaN);
        expect(await textOf("k")).toBe("7");
        expect(new Set(revisions).size).toBe(2);
        await put("k", "9", { condition: { kind: "revision-in", revisions: revisions.slice(0, 1) } });
        expect(await textOf("k")).toBe("7");
      }
    });

    test("revision-in fails where there is no entry; revision-not-in holds there", async () => {
      expect(await put("k", "1", { condition: { kind: "revision-in", revisions: [1] } })).toBe("condition-failed");
      expect(await put("k", "1", { condition: { kind: "revision-not-in", revisions: [1] } })).toBe("stored");
      const revision = await tagOf("k");
      expect(await put("k", "2", { condition: { kind: "revision-not-in", revisions: [revision] } })).toBe(
        "condition-failed",
      );
      expect(await put("k", "2", { condition: { kind: "revision-not-in", revisions: [revision - 1] } })).toBe("stored");
    });

    test("of many that put an absent key at once, one wins", async () => {
      const puts = Array.from({ length: 20 }, (_, i) => put("k", String(i), { condition: { kind: "absent" } }));
      expect((await Promise.all(puts)).filter((outcome) => outcome === "stored")).toEqual(["stored"]);
    });

    test("of many that replace the same state at once, one wins", async () => {
      await put("k", "0");
      const revisions = [await tagOf("k")];
      const puts = Array.from({ length: 20 }, (_, i) =>
        put("k", String(i + 1), { condition: { kind: "revision-in", revisions } }),
      );
      expect((await Promise.all(puts)).filter((outcome) => outcome === "stored")).toEqual(["stored"]);
    });
  });

  describe("increment", () => {
    test("counts from 0 and keeps the expiry of an entry that exists", async () => {
      expect(await increment("n", 5, 60_000)).toEqual({ kind: "incremented", value: 5 });
      const before = (await find("n"))?.info.expiresAtMs ?? 0;
      expect(await increment("n", -7, 999_000)).toEqual({ kind: "incremented", value: -2 });
      // Far from the other expiry, whatever a busy machine adds.
      expect(Math.abs(((await find("n"))?.info.expiresAtMs ?? 0) - before)).toBeLessThan(300_000);
      expect(await textOf("n")).toBe("-2");
      expect((await find("n"))?.info.attributes.contentType).toBe(JSON_CONTENT_TYPE);
    });

    test.each(['"5"', "1.5", "1e3", "null", "[1]", "9007199254740992", "12345678901234567890"])(
      "refuses %s, which is no safe integer",
      async (value) => {
        await put("n", value);
        expect(await increment("n", 1)).toEqual({ kind: "not-an-integer" });
        expect(await textOf("n")).toBe(value);
      },
    );

    test.each([" 5", "5\n", "\t\r\n 5 \t"])("counts on from %j: white space around it is JSON's", async (value) => {
      await put("n", value);
      expect(await increment("n", 1)).toEqual({ kind: "incremented", value: 6 });
      expect(await textOf("n")).toBe("6");
    });

    test("refuses digits that aren't JSON", async () => {
      await put("n", "5", { contentType: "text/plain" });
      expect(await increment("n", 1)).toEqual({ kind: "not-an-integer" });
    });

    test("works up to the edges of the safe integers and refuses to leave them", async () => {
      const max = Number.MAX_SAFE_INTEGER;
      await put("n", String(max - 1));
      expect(await increment("n", 1)).toEqual({ kind: "incremented", value: max });
      expect(await increment("n", 1)).toEqual({ kind: "out-of-range" });
      expect(await textOf("n")).toBe(String(max));
      expect(await increment("n", -max)).toEqual({ kind: "incremented", value: 0 });
      expect(await increment("n", -max)).toEqual({ kind: "incremented", value: -max });
      expect(await increment("n", -1)).toEqual({ kind: "out-of-range" });
    });

    test("loses none of many that run at once", async () => {
      await Promise.all(Array.from({ length: 100 }, () => increment("n", 1)));
      expect(await textOf("n")).toBe("100");
    });

    test("keeps to conditions", async () => {
      expect(await increment("n", 1, null, { kind: "present" })).toEqual({ kind: "condition-failed" });
      await put("n", "1");
      expect(await increment("n", 1, null, { kind: "absent" })).toEqual({ kind: "condition-failed" });
      const revisions = [await tagOf("n")];
      expect(await increment("n", 1, null, { kind: "revision-in", revisions })).toEqual({
        kind: "incremented",
        value: 2,
      });
      expect(await increment("n", 1, null, { kind: "revision-in", revisions })).toEqual({ kind: "condition-failed" });
    });
  });
}
