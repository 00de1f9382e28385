import { describe, expect, test } from "bun:test";
import { ANSWERS, RestNode, type RestNodeOptions } from "../../support/rest-node.ts";

type Answers = RestNodeOptions["answers"];

async function fill(keys: readonly string[], answers: Answers): Promise<RestNode> {
  const node = new RestNode({ answers });
  for (let start = 0; start < keys.length; start += 1_000) {
    const operations = keys.slice(start, start + 1_000).map((key) => ({ op: "set", key, value: 1 }));
    await node.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
  }
  return node;
}

interface Page {
  readonly keys: string[];
  readonly cursor: string | null;
}

/** Every page, from the first to the one without a cursor. */
async function walk(node: RestNode, query: string): Promise<Page[]> {
  const pages: Page[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: Page = (await node.call("GET", `/api/keys?${query}&cursor=${encodeURIComponent(cursor)}`)).json();
    pages.push(page);
    cursor = page.cursor;
  }
  return pages;
}

const numbered = (count: number, prefix: string) => Array.from({ length: count }, (_, number) => `${prefix}:${number}`);

describe.each(ANSWERS)("where the engine answers %s, keys", (answers) => {
  const withKeys = (keys: readonly string[]) => fill(keys, answers);

  test("of an empty cache are none", async () => {
    using node = await withKeys([]);
    const answer = await node.call("GET", "/api/keys");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(answer.json()).toEqual({ keys: [], cursor: null });
  });

  test("come once each, in pages of the wanted size", async () => {
    const keys = numbered(500, "key");
    using node = await withKeys(keys);
    for (const limit of [1, 7, 500, 10_000]) {
      const pages = await walk(node, `limit=${limit}`);
      expect(pages.flatMap((page) => page.keys).sort()).toEqual([...keys].sort());
      expect(pages.slice(0, -1).every((page) => page.keys.length === limit)).toBe(true);
      expect(pages.at(-1)?.keys.length).toBeLessThanOrEqual(limit);
    }
  });

  test("come by hundreds where no limit is named", async () => {
    using node = await withKeys(numbered(150, "key"));
    for (const query of ["", "limit=", "pattern=&limit="]) {
      expect((await walk(node, query)).map((page) => page.keys.length)).toEqual([100, 50]);
    }
  });

  test("are those that match the pattern", async () => {
    const odd = numbered(250, "odd");
    using node = await withKeys([...odd, ...numbered(250, "even"), 'quo"te\\', "grüße/😀", "a b+c"]);
    const listed = async (pattern: string) =>
      (await walk(node, `limit=9&pattern=${encodeURIComponent(pattern)}`)).flatMap((page) => page.keys).sort();
    expect(await listed("odd:*")).toEqual([...odd].sort());
    expect(await listed("gr[u-ü]?e/*")).toEqual(["grüße/😀"]);
    expect(await listed('quo"te\\\\')).toEqual(['quo"te\\']);
    expect(await listed("a b+c")).toEqual(["a b+c"]);
    expect(await listed("neither*")).toEqual([]);
  });

  test("that are few among many come in one call", async () => {
    using node = await withKeys([...numbered(20_000, "many"), "few:1", "few:2"]);
    const page: Page = (await node.call("GET", "/api/keys?pattern=few:*")).json();
    expect([page.keys.sort(), page.cursor]).toEqual([["few:1", "few:2"], null]);
  });

  test("that were deleted or have expired are left out", async () => {
    using node = await withKeys(["stays", "deleted"]);
    await node.post("expired", "1", ',"ttl":"1s"');
    await node.call("DELETE", "/api/cache/deleted");
    node.clock.nowMs += 1_000;
    expect((await node.call("GET", "/api/keys")).text).toBe('{"keys":["stays"],"cursor":null}');
  });

  test("that stay come although others come and go between the pages", async () => {
    const stays = numbered(300, "stays");
    using node = await withKeys([...stays, ...numbered(300, "goes")]);
    const seen: string[] = [];
    let round = 0;
    for (let cursor: string | null = ""; cursor !== null; round++) {
      const page: Page = (await node.call("GET", `/api/keys?limit=50&cursor=${cursor}`)).json();
      seen.push(...page.keys);
      cursor = page.cursor;
      await node.call("DELETE", `/api/cache?pattern=goes:${round}*`);
      await node.post(`comes:${round}`, "1");
    }
    expect(seen.filter((key) => key.startsWith("stays")).sort()).toEqual([...stays].sort());
  });

  test.each([
    ["limit=0", "ERR_BAD_LIMIT"],
    ["limit=10001", "ERR_BAD_LIMIT"],
    ["limit=x", "ERR_BAD_LIMIT"],
    ["limit=-1", "ERR_BAD_LIMIT"],
    ["limit=1.5", "ERR_BAD_LIMIT"],
    ["limit=0x10", "ERR_BAD_LIMIT"],
    ["limit=1e2", "ERR_BAD_LIMIT"],
    ["limit=%20", "ERR_BAD_LIMIT"],
    ["cursor=%00", "ERR_INVALID_CURSOR"],
    ["cursor=!", "ERR_INVALID_CURSOR"],
    ["cursor=null", "ERR_INVALID_CURSOR"],
    ["cursor=undefined", "ERR_INVALID_CURSOR"],
    ["cursor=0", "ERR_INVALID_CURSOR"],
    ["cursor=%F0%9F%98%80", "ERR_INVALID_CURSOR"],
    [`pattern=${"x".repeat(1_025)}`, "ERR_INVALID_PATTERN"],
    ["pattern=%zz", "ERR_BAD_QUERY"],
    ["pattern=%E4", "ERR_BAD_QUERY"],
  ])("with %s are refused", async (query, code) => {
    using node = await withKeys(["key"]);
    const answer = await node.call("GET", `/api/keys?${query}`);
    expect([answer.status, answer.json().code]).toEqual([400, code]);
  });
});
