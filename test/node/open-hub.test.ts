import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Config, loadConfig } from "../../src/config/config.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import { linkOf, nodeIdOf, openDataDirectory, openHub } from "../../src/node/open-hub.ts";
import { makeSharedParts } from "../../src/node/shared-parts.ts";
import type { Outbox } from "../../src/outbox/outbox.ts";
import { NodeState } from "../../src/replication/node-state.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put } from "../support/test-outbox.ts";

const MEMORY = ["--entry-memory=64MiB", "--workers=1"];

function configOf(folder: TempFolder, flags: readonly string[] = []): Config {
  const database = [`--backend-db=sqlite:${join(folder.path, "shop.db")}`, `--data-dir=${join(folder.path, "data")}`];
  return loadConfig([...MEMORY, ...database, ...flags], {}, { memoryBytes: 2 ** 30, cores: 2 }).config;
}

describe("what stands behind a node", () => {
  test.each([
    ["that it made", (outbox: Outbox, ahead: number) => outbox.append([put("a", "1", ahead)])],
    ["that peers made", (outbox: Outbox, ahead: number) => new NodeState(outbox).noteSeen(ahead)],
  ])("gives stamps that are newer than all before %s, also where the clock was set back since", async (_, note) => {
    using folder = tempFolder();
    const config = configOf(folder);
    const ahead = versionAt(Date.now() + 3_600_000);
    {
      using before = openTestOutbox(config.outbox.dataDirectory);
      await note(before.outbox, ahead);
    }
    using directory = openDataDirectory(config);
    const link = linkOf(config, 1);
    const shared = makeSharedParts(config, 1, link);
    const engine = MemoryEngine.create({ limitBytes: 8 * 1024 * 1024, threads: 1, clock: Date.now });
    const hub = openHub({ config, shared, link, directory, engine, staleEngine: null, log: () => {}, tracer: null });
    expect(HybridClock.attach(shared.versions, Date.now).next()).toBeGreaterThan(ahead);
    await hub.stop();
  });

  test("has an id that is made once, unless it is configured", () => {
    using folder = tempFolder();
    const config = configOf(folder);
    using directory = openDataDirectory(config);
    const made = nodeIdOf(config, directory);
    expect(made).toBeWithin(1, 2 ** 32);
    expect(nodeIdOf(config, directory)).toBe(made);
    expect(readFileSync(directory.file("node-id"), "utf8")).toBe(`${made}\n`);
    expect(nodeIdOf(configOf(folder, ["--node-id=5"]), directory)).toBe(5);
    writeFileSync(directory.file("node-id"), "seven\n");
    expect(() => nodeIdOf(config, directory)).toThrow("holds no node id: set SERV_CACHE_NODE_ID");
  });

  test("tells the caches what it is for", () => {
    using folder = tempFolder();
    const flags = ["--backend-delete=true", "--backend-timeout=2s", "--fill-ttl=10s", "--refresh-ahead=20%"];
    expect(linkOf(configOf(folder, flags), 5)).toEqual({
      nodeId: 5,
      loads: true,
      deletes: true,
      tombstoneMs: 7_000,
      refreshAheadMs: 2_000,
    });
    expect(linkOf(configOf(folder, [...flags, "--write-mode=none"]), 5).deletes).toBe(false);
  });

  test("is for one node at a time", () => {
    using folder = tempFolder();
    const config = configOf(folder);
    using _directory = openDataDirectory(config);
    expect(() => openDataDirectory(config)).toThrow("SERV_CACHE_DATA_DIR");
  });
});
