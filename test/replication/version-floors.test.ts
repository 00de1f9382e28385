import { expect, test } from "bun:test";
import fc from "fast-check";
import { VersionFloors } from "../../src/replication/version-floors.ts";

test("nothing is known of a key that nobody noted", () => {
  expect(new VersionFloors().newest("k")).toBe(0);
});

test("the newest version of a key is at least the newest that was noted, in whatever order, and was noted of some key", () => {
  const note = fc.tuple(
    fc.nat(20).map((number) => `key:${number}`),
    fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  );
  fc.assert(
    fc.property(fc.array(note, { maxLength: 50 }), (notes) => {
      const floors = new VersionFloors();
      for (const [key, version] of notes) floors.note(key, version);
      for (const [key] of notes) {
        const ofKey = notes.filter(([other]) => other === key).map(([, version]) => version);
        const newest = floors.newest(key);
        expect(newest).toBeGreaterThanOrEqual(Math.max(...ofKey));
        expect(notes.map(([, version]) => version)).toContain(newest);
      }
    }),
    { numRuns: 30 },
  );
});
