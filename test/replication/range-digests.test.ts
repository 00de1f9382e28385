import { describe, expect, test } from "bun:test";
import type { Mutation } from "../../src/model/mutation.ts";
import { KeyFilter } from "../../src/replication/key-filter.ts";
import { answerCompare, answerDigest, rangesThatDiffer } from "../../src/replication/range-digests.ts";
import { decodeMessage, encodeMessage } from "../../src/replication/wire/message.ts";
import { ComparedNode } from "../support/compared-node.ts";
import { stampOf } from "../support/engine-io.ts";

const UNTIL = 1000;

async function differing(one: ComparedNode, other: ComparedNode, until = UNTIL): Promise<number> {
  return rangesThatDiffer(await one.digests.sumUp(until), await other.digests.sumUp(until)).size;
}

function twoNodes(): [ComparedNode, ComparedNode] {
  const nodes: [ComparedNode, ComparedNode] = [new ComparedNode(1), new ComparedNode(2)];
  for (const node of nodes) for (let number = 0; number < 500; number++) node.put(`k${number}`, 100 + number);
  return nodes;
}

describe("two nodes with the same entries", () => {
  test("have the same digests, in whatever order they came", async () => {
    const [one] = twoNodes();
    const other = new ComparedNode(2);
    for (let number = 499; number >= 0; number--) other.put(`k${number}`, 100 + number);
    expect(await differing(one, other)).toBe(0);
    const { counts } = await one.digests.sumUp(UNTIL);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(500);
  });

  test.each<[string, (node: ComparedNode) => void]>([
    ["a version", (node) => node.put("k7", 900)],
    ["the node of a version", (node) => node.put("k7", 107, 2)],
    ["an entry more", (node) => node.put("more", 5)],
    ["an entry less", (node) => node.remove("k7", 900)],
  ])("differ in one range when %s is another", async (_, change) => {
    const [one, other] = twoNodes();
    change(other);
    expect(await differing(one, other)).toBe(1);
  });

  test.each<[string, (node: ComparedNode) => void]>([
    ["what came after the version that both have everything up to", (node) => node.put("more", UNTIL + 1)],
    ["what was filled from a database", (node) => node.put("more", 5, 0)],
  ])("do not differ in %s", async (_, change) => {
    const [one, other] = twoNodes();
    change(other);
    expect(await differing(one, other)).toBe(0);
  });
});

test("a range that is empty here is no difference; one that is empty there may be", () => {
  const some = { counts: [1, 0], sums: [5, 0] };
  const none = { counts: [0, 0], sums: [0, 0] };
  const rangesOf = (mine: typeof some, theirs: typeof some) =>
    [...rangesThatDiffer(mine, theirs)].filter((at) => at < 2);
  expect([rangesOf(none, some), rangesOf(some, none)]).toEqual([[], [0]]);
});

test("the entries of wanted ranges are listed, so many together, each once", async () => {
  const [node] = twoNodes();
  const all = new Set(Array.from({ length: 256 }, (_, range) => range));
  const pages: string[][] = [];
  await node.digests.list(UNTIL, all, 64, async (entries) => {
    pages.push(entries.map(({ key }) => key));
  });
  expect(pages.map(({ length }) => length)).toEqual([64, 64, 64, 64, 64, 64, 64, 52]);
  expect(new Set(pages.flat()).size).toBe(500);
  const few: string[] = [];
  await node.digests.list(UNTIL, new Set([3, 5]), 64, async (entries) => {
    few.push(...entries.map(({ key }) => key));
  });
  const { counts } = await node.digests.sumUp(UNTIL);
  expect(few.length).toBe((counts[3] ?? 0) + (counts[5] ?? 0));
});

test("keys that are not replicated are not compared", async () => {
  const node = new ComparedNode(1, new KeyFilter(["shared:*"]));
  node.put("shared:1", 5);
  node.put("own", 5);
  const { counts } = await node.digests.sumUp(UNTIL);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1);
});

test("a node that does not have everything yet says so, and sums nothing up", async () => {
  const [node] = twoNodes();
  const ask = async (until: number) =>
    decodeMessage(await answerDigest(node.digests, decodeMessage(encodeMessage("digest", { until }))));
  expect((await ask(UNTIL)).head.flag("isSettled")).toBe(true);
  const { head } = await ask(node.until + 1);
  expect([head.flag("isSettled"), head.numbers("counts")]).toEqual([false, []]);
});

describe("told what a peer has, a node answers", () => {
  /** What is wanted of `k@500`, and what is newer here. */
  async function answerOf(prepare: (node: ComparedNode) => void, told = stampOf(500, 3)) {
    const node = new ComparedNode(1);
    prepare(node);
    const mutations: Mutation[] = [{ kind: "outdated", key: "k", stamp: told }];
    const message = decodeMessage(encodeMessage("compare", { until: UNTIL }, mutations));
    const { head, mutations: newer } = decodeMessage(await answerCompare(node.digests, message));
    return { wanted: head.numbers("wanted"), newer: newer.map(({ kind, stamp }) => `${kind}@${stamp.version}`) };
  }

  test.each<[string, (node: ComparedNode) => void, number[], string[]]>([
    ["nothing where it knows nothing of the key", () => {}, [], []],
    ["that it wants it where it has an older one", (node) => node.put("k", 400), [0], []],
    ["its own where that is newer", (node) => node.put("k", 600), [], ["put@600"]],
    ["nothing where they are the same", (node) => node.put("k", 500, 3), [], []],
    ["nothing where its own is newer than both have everything of", (node) => node.put("k", UNTIL + 1), [], []],
    ["nothing where it was filled from a database", (node) => node.put("k", 400, 0), [], []],
    ["a delete where it remembers one", (node) => node.remove("k", 600), [], ["delete@600"]],
    ["that it wants what is newer than its delete", (node) => node.remove("k", 400), [0], []],
    [
      "a delete where an invalidation covers it",
      (node) => node.invalidations.add("k*", stampOf(700, 2)),
      [],
      ["delete@700"],
    ],
    ["nothing of an invalidation of other keys", (node) => node.invalidations.add("x*", stampOf(700, 2)), [], []],
  ])("%s", async (_, prepare, wanted, newer) => {
    expect(await answerOf(prepare)).toEqual({ wanted, newer });
  });
});
