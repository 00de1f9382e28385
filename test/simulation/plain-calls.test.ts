import { expect, test } from "bun:test";
import { Mesh } from "./mesh.ts";

test("an older put of a peer does not come after what a plain call has put on Redis, and what was evicted", async () => {
  const mesh = new Mesh([{}, { kind: "redis" }]);
  await mesh.run(5000);
  mesh.cut(1, 2);
  mesh.node(1).put("x", null);
  await mesh.run(100);
  mesh.node(2).put("x", null, true);
  await mesh.run(100);
  mesh.node(2).life.engine.evict("x");
  expect(await mesh.settle(["x"])).toEqual([]);
  expect(mesh.values("x")[1]).toBeNull();
});
