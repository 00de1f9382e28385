import { expect, test } from "bun:test";
import { toVersion } from "../../src/model/stamp.ts";
import type { Applier } from "../../src/replication/applier.ts";
import { Bootstrap } from "../../src/replication/bootstrap.ts";
import { NodeIdentity } from "../../src/replication/node-identity.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

test.each([-3_600_000, 3_600_000])(
  "a node waits for its peers no longer and no shorter where the clock is set by %i ms",
  async (ms) => {
    const scheduler = new ManualScheduler();
    const bootstrap = new Bootstrap({
      node: new NodeIdentity(1, 1),
      applier: {} as Applier,
      scheduler,
      sources: () => [],
      areAllUp: () => false,
      startVersion: () => toVersion(1),
      ...{ timeoutMs: 30_000, pauseMs: 10, onReady: () => {}, log: () => {} },
    });
    const run = bootstrap.run();
    await scheduler.advance(10_000);
    scheduler.jump(ms);
    await scheduler.advance(19_000);
    expect(bootstrap.state).toBe("running");
    await scheduler.advance(1_500);
    expect(bootstrap.state).toBe("late");
    bootstrap.stop();
    await run;
  },
);
