import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
import fc from "fast-check";
import type { OutboxEntry, OutboxRow } from "../../src/outbox/entry.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, remove, type TestOutbox, takeAll } from "../support/test-outbox.ts";

type Step =
  | { readonly kind: "append"; readonly key: number; readonly version: number; readonly isDelete: boolean }
  | { readonly kind: "take"; readonly limit: number }
  | { readonly kind: "done" | "released" | "postponed" | "delayed" | "dead" }
  /** As it is meant to be, or with the disk as it is at this moment. */
  | { readonly kind: "restart" | "kill" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      key: fc.nat(5),
      version: fc.integer({ min: 1, max: 60 }),
      isDelete: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("take" as const), limit: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "done" as const,
        "released" as const,
        "postponed" as const,
        "delayed" as const,
        "dead" as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("restart" as const, "kill" as const) }) },
);

/** What the outbox has to hold: the newest version per key; what is in flight; what is a dead letter. */
class Model {
  readonly waiting = new Map<string, OutboxRow>();
  readonly dead = new Set<string>();
  flying: OutboxEntry[] = [];

  append(row: OutboxRow): void {
    const other = this.waiting.get(row.key);
    if (other !== undefined && other.mutation.stamp.version >= row.mutation.stamp.version) return;
    this.waiting.set(row.key, row);
    this.dead.delete(row.key);
  }

  isCurrent(entry: OutboxEntry): boolean {
    return this.waiting.get(entry.key)?.mutation.stamp.version === entry.mutation.stamp.version;
  }
}

async function settle(opened: TestOutbox, model: Model, kind: "done" | "released" | "postponed" | "delayed" | "dead") {
  const entry = model.flying.shift();
  if (entry === undefined) return;
  const reason = "x";
  const dueAtMs = opened.scheduler.nowMs() + 1_000;
  if (kind === "done" && model.isCurrent(entry)) model.waiting.delete(entry.key);
  if (kind === "dead" && model.isCurrent(entry)) model.dead.add(entry.key);
  if (kind === "done" || kind === "released") await opened.outbox.settle([{ kind, entry }]);
  else if (kind === "postponed") await opened.outbox.settle([{ kind, entry, reason, dueAtMs }]);
  else await opened.outbox.settle([{ kind: "refused", entry, reason, dueAtMs: kind === "dead" ? null : dueAtMs }]);
}

test("whatever happens in whatever order, the newest mutation of each key waits until it is done", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40, size: "max" }),
      fc.constantFrom(0, 2, 100),
      async (steps, rows) => {
        using folders = new DisposableStack();
        let folder = folders.use(tempFolder());
        // From nothing in memory to everything: entries move from the journal to the table early, in between, or never.
        const options = { fresh: { rows, bytes: 1_000_000, ageMs: 5_000 } };
        let opened = openTestOutbox(folder.path, options);
        const model = new Model();
        for (const next of steps) {
          if (next.kind === "append") {
            const key = `k${next.key}`;
            const mutation = next.isDelete ? remove(key, next.version) : put(key, "v", next.version);
            model.append(mutation);
            await opened.outbox.append([mutation]);
          } else if (next.kind === "take") {
            const taken = takeAll(opened.outbox, "backend", next.limit);
            for (const entry of taken) {
              expect(model.isCurrent(entry)).toBe(true);
              expect(model.dead.has(entry.key)).toBe(false);
              expect(model.flying.some((other) => other.key === entry.key)).toBe(false);
            }
            model.flying.push(...taken);
          } else if (next.kind === "restart") {
            opened[Symbol.dispose]();
            opened = openTestOutbox(folder.path, options);
            model.flying = [];
          } else if (next.kind === "kill") {
            const copy = folders.use(tempFolder());
            cpSync(folder.path, copy.path, { recursive: true });
            opened[Symbol.dispose]();
            folder = copy;
            opened = openTestOutbox(folder.path, options);
            model.flying = [];
          } else await settle(opened, model, next.kind);
          const stats = opened.outbox.stats("backend");
          expect([stats.pending, stats.dead]).toEqual([model.waiting.size - model.dead.size, model.dead.size]);
        }
        while (model.flying.length > 0) await settle(opened, model, "released");
        opened.scheduler.jump(10_000);
        const left = takeAll(opened.outbox).map((entry) => `${entry.key}@${entry.mutation.stamp.version}`);
        const expected = [...model.waiting.values()].filter(({ key }) => !model.dead.has(key));
        expect(left.sort()).toEqual(expected.map(({ key, mutation }) => `${key}@${mutation.stamp.version}`).sort());
        opened[Symbol.dispose]();
      },
    ),
    { numRuns: 150 },
  );
}, 300_000);
