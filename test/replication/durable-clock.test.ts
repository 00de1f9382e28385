import { describe, expect, test } from "bun:test";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { DurableClock } from "../../src/replication/durable-clock.ts";

const NOW = Date.UTC(2026, 0, 1);

/** What a disk keeps. */
function disk() {
  return {
    newestVersion: 0,
    seenVersion: toVersion(0),
    commits: 0,
    noteVersion(version: number) {
      this.newestVersion = version;
      this.commits++;
    },
    noteSeen(version: number) {
      this.seenVersion = toVersion(version);
      this.commits++;
    },
  };
}

describe("what a node keeps of its clock before it acknowledges", () => {
  test.each([
    ["knows how far it had come", true],
    ["has yet to learn that", false],
  ])("is as new as all that it has seen, where it %s", (_, isComplete) => {
    const kept = disk();
    const clock = HybridClock.create(() => NOW);
    const keeper = new DurableClock(clock, kept, kept, { isComplete });
    // Behind this node's time: which may be set back before the next start.
    const behind = versionAt(NOW - 10_000);
    clock.observe(behind);
    keeper.keep();
    expect(Math.max(kept.newestVersion, kept.seenVersion)).toBeGreaterThan(behind);
    const ahead = versionAt(NOW + 5_000);
    clock.observe(ahead);
    keeper.keep();
    expect(Math.max(kept.newestVersion, kept.seenVersion)).toBeGreaterThan(ahead);
  });

  test("costs a commit now and then, not one for each mutation", () => {
    const kept = disk();
    let nowMs = NOW;
    const clock = HybridClock.create(() => nowMs);
    const keeper = new DurableClock(clock, kept, kept, { isComplete: true });
    for (let ms = 0; ms < 1_000; ms++) {
      nowMs++;
      keeper.keep();
    }
    expect(kept.commits).toBeWithin(4, 8);
  });
});
