import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

function batch(node: RestNode, operations: readonly unknown[]) {
  return node.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
}

describe("keys", () => {
  test("come in pages, every one of them, and by pattern", async () => {
    using node = new RestNode();
    const keys = Array.from({ length: 500 }, (_, number) => `${number % 2 === 0 ? "even" : "odd"}:${number}`);
    await batch(
      node,
      keys.map((key) => ({ op: "set", key, value: 1 })),
    );
    const found: string[] = [];
    let cursor = "";
    do {
      const page = (await node.call("GET", `/api/keys?pattern=even:*&limit=7&cursor=${cursor}`)).json();
      expect(page.keys.length).toBeLessThanOrEqual(7);
      found.push(...page.keys);
      cursor = page.cursor;
    } while (cursor !== null);
    expect(found.sort()).toEqual(keys.filter((key) => key.startsWith("even")).sort());
  });

  test("that are few among many come in one call", async () => {
    using node = new RestNode();
    for (let start = 0; start < 20_000; start += 1_000) {
      const operations = Array.from({ length: 1_000 }, (_, at) => ({ op: "set", key: `many:${start + at}`, value: 1 }));
      await batch(node, operations);
    }
    await node.post("few", "1");
    const page = (await node.call("GET", "/api/keys?pattern=few")).json();
    expect(page).toEqual({ keys: ["few"], cursor: null });
  });

  test.each(["limit=0", "limit=10001", "limit=x", "limit=-1", "cursor=!", "pattern=%zz"])(
    "%s is refused",
    async (query) => {
      using node = new RestNode();
      expect((await node.call("GET", `/api/keys?${query}`)).status).toBe(400);
    },
  );
});
