import { expect, test } from "bun:test";
import { Reachability } from "../../src/backend/reachability.ts";
import { FakeBackend } from "../support/fake-backend.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

test("a backend that is away at the start is looked at again until it is there, and then no more", async () => {
  const scheduler = new ManualScheduler();
  const backend = new FakeBackend();
  backend.isAway = true;
  const options = { timeoutMs: 1_000, backoffFirstMs: 500, backoffMaxMs: 5_000, random: () => 1 };
  const reachability = new Reachability({ backend, scheduler, ...options });
  expect(reachability.problem).toBe("");
  reachability.start();
  await scheduler.advance(0);
  expect(reachability.problem).toBe("away");
  await scheduler.advance(60_000);
  expect(reachability.problem).toBe("away");
  backend.isAway = false;
  await scheduler.advance(5_000);
  expect(reachability.problem).toBe("");
  expect(scheduler.nextInMs()).toBeNull();
});

test("a look that is planned is not made after the end", async () => {
  const scheduler = new ManualScheduler();
  const backend = new FakeBackend();
  backend.isAway = true;
  const options = { timeoutMs: 1_000, backoffFirstMs: 500, backoffMaxMs: 5_000, random: () => 1 };
  const reachability = new Reachability({ backend, scheduler, ...options });
  reachability.start();
  await scheduler.advance(0);
  reachability.stop();
  expect(scheduler.nextInMs()).toBeNull();
});
