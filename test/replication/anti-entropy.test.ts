import { expect, test } from "bun:test";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { AntiEntropy } from "../../src/replication/anti-entropy.ts";
import { ComparedNode } from "../support/compared-node.ts";

/** Compares one node with another as often as there is a link to it. */
function compare(mine: ComparedNode, theirs: ComparedNode) {
  const applied: string[] = [];
  let repairs = 0;
  const antiEntropy = new AntiEntropy({
    node: mine.node,
    digests: mine.digests,
    entries: mine.entries,
    applier: {
      apply: (mutation: Mutation, unknownUntil) => {
        applied.push(`${mutation.kind}@${mutation.stamp.version} from ${unknownUntil}`);
        return mutation.kind === "put" ? "applied" : "superseded";
      },
    },
    hasAllUntil: () => mine.until,
    onRepair: () => {
      repairs += 1;
    },
    nowMs: () => 1_800_000_000_000,
    timeoutMs: 1000,
    signal: new AbortController().signal,
  });
  return {
    applied,
    repairs: () => repairs,
    run: () => antiEntropy.run(theirs),
  };
}

function twoNodes(): [ComparedNode, ComparedNode] {
  const nodes: [ComparedNode, ComparedNode] = [new ComparedNode(1), new ComparedNode(2)];
  for (const node of nodes) for (let number = 0; number < 50; number++) node.put(`k${number}`, 100 + number);
  return nodes;
}

test("nodes that have the same exchange digests alone", async () => {
  const [mine, theirs] = twoNodes();
  const { applied, run } = compare(mine, theirs);
  expect(await run()).toBe(true);
  expect([theirs.asked, applied, theirs.repaired]).toEqual([["digest"], [], []]);
});

test("what is newer there is applied here, but not where something newer may have come and gone", async () => {
  const [mine, theirs] = twoNodes();
  theirs.put("k7", 900);
  theirs.remove("k8", 901);
  const { applied, repairs, run } = compare(mine, theirs);
  expect(await run()).toBe(true);
  expect(applied.sort()).toEqual(["delete@901 from 901", "put@900 from 900"]);
  // A delete that was refused is no repair.
  expect([repairs(), theirs.repaired]).toEqual([1, []]);
});

test("what is newer here is sent there, with its value, where it is still here", async () => {
  const [mine, theirs] = twoNodes();
  mine.put("k7", 900);
  const { applied, run } = compare(mine, theirs);
  expect(await run()).toBe(true);
  expect(theirs.repaired).toMatchObject([{ kind: "put", key: "k7", value: { bytes: Buffer.from("v900") } }]);
  expect(applied).toEqual([]);
});

test.each([
  ["mine", 0, 1000],
  ["theirs", 1000, 999],
])("nothing is compared where %s does not have everything", async (_, mineUntil, theirsUntil) => {
  const [mine, theirs] = twoNodes();
  theirs.put("k7", 900);
  mine.until = toVersion(mineUntil);
  theirs.until = toVersion(theirsUntil);
  const { applied, run } = compare(mine, theirs);
  expect(await run()).toBe(false);
  expect([applied, theirs.asked.includes("compare")]).toEqual([[], false]);
});
