import { describe, expect, test } from "bun:test";
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
