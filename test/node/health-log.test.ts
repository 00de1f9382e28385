import { describe, expect, test } from "bun:test";
import type { PartState } from "../../src/cache/operator-port.ts";
import { HealthLog } from "../../src/node/health-log.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

function logOf(scheduler: ManualScheduler) {
  const parts: Record<string, PartState> = { backend: ok(), outbox: ok() };
  const said: string[] = [];
  return {
    parts,
    said,
    log: new HealthLog(
      scheduler,
      () => parts,
      (message) => said.push(message),
    ),
  };
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

  test("says once that a part is not well, and once that it is again", async () => {
    const scheduler = new ManualScheduler();
    const { parts, said, log } = logOf(scheduler);
    parts.peers = degraded("not yet connected");
    log.start();
    await scheduler.advance(5_000);
    parts.peers = ok();
    parts.outbox = degraded("81 % full");
    await scheduler.advance(5_000);
    expect(said).toEqual(["outbox: degraded: 81 % full"]);
    parts.outbox = degraded("90 % full");
    parts.backend = degraded("away");
    await scheduler.advance(5_000);
    parts.outbox = ok();
    await scheduler.advance(5_000);
    expect(said.slice(1)).toEqual(["backend: degraded: away", "outbox: ok again"]);
    log.stop();
  });
});
