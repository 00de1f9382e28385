import { describe, expect, test } from "bun:test";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import { Mesh } from "./mesh.ts";

describe("what was acknowledged while a link was cut", () => {
  test("is everywhere in the end, though both nodes were restarted before it was heard", async () => {
    const mesh = new Mesh([{}, {}]);
    await mesh.run(5000);
    mesh.cut(1, 2);
    mesh.node(1).put("x", null);
    await mesh.run(100);
    mesh.node(2).put("y", null);
    await mesh.run(100);
    mesh.restart(1);
    mesh.restart(2);
    await mesh.run(1000);
    expect(await mesh.settle(["x", "y"])).toEqual([]);
    const [x1, x2] = mesh.values("x");
    const [y1, y2] = mesh.values("y");
    expect([x1 !== null && x1 === x2, y1 !== null && y1 === y2]).toEqual([true, true]);
  });
});

describe("a node that lost its disk and is filled by a peer", () => {
  test("does not take one that has started after it for a peer that has the entries", async () => {
    const mesh = new Mesh([{ bootstrap: "peer" }, {}, {}]);
    await mesh.run(5000);
    mesh.node(2).put("k", null);
    await mesh.run(5000);
    mesh.node(3).kill(false);
    mesh.node(1).kill(true);
    mesh.node(1).start();
    await mesh.run(10_000);
    expect(mesh.node(1).life.replication.bootstrapState).toBe("late");
    // The third has heard everybody, and is the only one that can be asked.
    mesh.cut(1, 2);
    mesh.node(3).start();
    await mesh.run(20_000);
    expect(mesh.node(1).life.replication.bootstrapState).toBe("late");
    mesh.network.healAll();
    await mesh.run(20_000);
    expect(mesh.node(1).life.replication.bootstrapState).toBe("done");
    expect(mesh.values("k")[0]).toBe(mesh.values("k")[1] ?? "");
    expect(await mesh.settle(["k"])).toEqual([]);
  });

  test("is not filled by one that is still being filled", async () => {
    const mesh = new Mesh([{ bootstrap: "peer" }, {}, { bootstrap: "peer" }]);
    await mesh.run(5000);
    mesh.node(2).put("k", null);
    await mesh.run(5000);
    mesh.node(3).kill(true);
    mesh.node(3).start();
    mesh.cut(1, 2);
    mesh.cut(2, 3);
    await mesh.run(1000);
    mesh.node(1).kill(true);
    mesh.node(1).start();
    await mesh.run(30_000);
    expect([1, 3].map((number) => mesh.node(number).life.replication.bootstrapState)).toEqual(["late", "late"]);
    mesh.network.healAll();
    await mesh.run(20_000);
    expect([1, 3].map((number) => mesh.node(number).life.replication.bootstrapState)).toEqual(["done", "done"]);
    const [first, second, third] = mesh.values("k");
    expect([second !== null, first, third]).toEqual([true, second ?? "", second ?? ""]);
  });

  test("is ready with nothing where no peer was there before it", async () => {
    const mesh = new Mesh([{ bootstrap: "peer" }, { bootstrap: "peer" }, { bootstrap: "peer" }]);
    await mesh.run(4000);
    expect(mesh.nodes.map(({ life }) => life.replication.bootstrapState)).toEqual(["done", "done", "done"]);
  });
});

test("a stamp from an hour ahead that a node refused does not make its own stamps after a restart newer than the time", async () => {
  const mesh = new Mesh([{}, {}, {}]);
  await mesh.run(5000);
  mesh.cut(2, 3);
  mesh.node(2).put("x", null);
  await mesh.run(100);
  mesh.node(1).skewMs = 3_600_000;
  mesh.node(1).put("x", null);
  await mesh.run(100);
  mesh.node(1).skewMs = 0;
  await mesh.run(2000);
  mesh.restart(2);
  mesh.node(2).put("y", null);
  await mesh.run(100);
  const stamp = mesh.node(2).life.engine.live("y")?.stamp;
  expect(stamp?.version).toBeLessThanOrEqual(versionAt(mesh.node(2).nowMs()));
});
