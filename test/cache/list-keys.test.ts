import { describe, expect, test } from "bun:test";
import { Cache } from "../../src/cache/cache.ts";
import type { ScanPage, ScanRequest } from "../../src/engine/engine.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import { ManualClock } from "../support/engine-io.ts";
import { PlainEngine } from "../support/plain-engine.ts";

/** Gives the pages that the test names, and keeps what it was asked. */
class PagedEngine extends PlainEngine {
  readonly asked: ScanRequest[] = [];

  constructor(private readonly pageAt: (number: number) => ScanPage) {
    super(new ManualClock().read);
  }

  override scan(request: ScanRequest): ScanPage {
    this.asked.push(request);
    return this.pageAt(this.asked.length - 1);
  }
}

function cacheOver(engine: PagedEngine): Cache {
  const nowMs = new ManualClock().read;
  return new Cache({ engine, versions: HybridClock.create(nowMs), nowMs, defaultTtlMs: null, nodeId: 0, link: null });
}

const request: ScanRequest = { pattern: null, cursor: null, limit: 3 };
const empty = (number: number): ScanPage => ({ keys: [], cursor: `after ${number}` });

describe("a call for keys", () => {
  test.each([
    [{ keys: ["a", "b", "c"], cursor: "more" }],
    [{ keys: ["a"], cursor: null }],
    [{ keys: [], cursor: null }],
  ])("answers at once, and with one page, where %j is enough", (page) => {
    const engine = new PagedEngine(() => page);
    expect(cacheOver(engine).keys(request)).toBe(page);
    expect(engine.asked).toEqual([request]);
  });

  test("goes on until it has as many as it may give", async () => {
    const pages = [{ keys: ["a"], cursor: "1" }, empty(1), { keys: ["b", "c"], cursor: "3" }];
    const engine = new PagedEngine((number) => pages[number] ?? empty(number));
    expect(await cacheOver(engine).keys(request)).toEqual({ keys: ["a", "b", "c"], cursor: "3" });
    expect(engine.asked.map(({ cursor, limit }) => [cursor, limit])).toEqual([
      [null, 3],
      ["1", 2],
      ["after 1", 2],
    ]);
  });

  test("goes on until the end", async () => {
    const engine = new PagedEngine((number) => (number < 5 ? empty(number) : { keys: ["last"], cursor: null }));
    expect(await cacheOver(engine).keys(request)).toEqual({ keys: ["last"], cursor: null });
  });

  test("looks at 64 pages at most, and says where to go on", async () => {
    const engine = new PagedEngine(empty);
    expect(await cacheOver(engine).keys(request)).toEqual({ keys: [], cursor: "after 63" });
    expect(engine.asked).toHaveLength(64);
  });

  test("lets other work run between its pages", async () => {
    const engine = new PagedEngine(empty);
    const listing = cacheOver(engine).keys(request);
    const pagesWhenOthersRan = await new Promise((resolve) => setImmediate(() => resolve(engine.asked.length)));
    await listing;
    expect(pagesWhenOthersRan).toBeLessThan(5);
  });

  test("fails where a later page fails", async () => {
    const engine = new PagedEngine((number) => {
      if (number === 2) throw new Error("out of order");
      return empty(number);
    });
    await expect((async () => cacheOver(engine).keys(request))()).rejects.toThrow("out of order");
  });
});
