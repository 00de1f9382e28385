import { expect, test } from "bun:test";
import { Readiness } from "../../src/node/readiness.ts";

test("a node is ready from when it serves until it drains, as all its threads see, and not again after that", () => {
  const main = new Readiness();
  const thread = new Readiness(main.buffer);
  expect(thread.isReady).toBe(false);
  main.serve();
  main.serve();
  expect(thread.isReady).toBe(true);
  main.drain();
  expect(thread.isReady).toBe(false);
  main.serve();
  expect(thread.isReady).toBe(false);
});

test("a node that drains before it has the entries of a peer never says that it is ready", () => {
  const readiness = new Readiness();
  readiness.drain();
  readiness.serve();
  expect(readiness.isReady).toBe(false);
});
