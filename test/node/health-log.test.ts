import { describe, expect, test } from "bun:test";
import type { PartState } from "../../src/cache/upstream.ts";
import { HealthLog } from "../../src/node/health-log.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

function logOf(scheduler: ManualScheduler) {
  const parts: Record<string, PartState> = { backend: ok(), outbox: ok() };
  return { parts, log: new HealthLog(scheduler, () => parts) };
}

const ok = (): PartState => ({ status: "ok", detail: "", facts: {} });
const degraded = (detail: string): PartState => ({ status: "degraded", detail, facts: {} });

describe("a health log", () => {
  test("remembers since when each part is as it is, also when nobody asks", async () => {
    const scheduler = new ManualScheduler();
    const startMs = scheduler.nowMs();
    const { parts, log } = logOf(scheduler);
    log.start();
    await scheduler.advance(10_000);
    parts.backend = degraded("away");
    await scheduler.advance(60_000);
    expect(log.look()).toEqual({
      backend: { ...degraded("away"), sinceMs: startMs + 11_000 },
      outbox: { ...ok(), sinceMs: startMs },
    });
    parts.backend = ok();
    expect(log.look().backend).toEqual({ ...ok(), sinceMs: startMs + 70_000 });
    log.stop();
    expect(scheduler.nextInMs()).toBeNull();
  });

  test("does not begin anew when only the detail changes", async () => {
    const scheduler = new ManualScheduler();
    const { parts, log } = logOf(scheduler);
    parts.outbox = degraded("81 % full");
    const { outbox } = log.look();
    await scheduler.advance(5_000);
    parts.outbox = degraded("90 % full");
    expect(log.look().outbox).toEqual({ ...degraded("90 % full"), sinceMs: Number(outbox?.sinceMs) });
  });
});
