/** FAULTS 34: a node with default settings in a container of 256 MiB, under what hostile clients do to its memory. */

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { hasMemoryCgroups, type MemoryCgroup, memoryCgroup } from "../support/memory-cgroup.ts";
import { needingThat } from "../support/needing.ts";
import { neighbour } from "../support/storms/neighbour.ts";
import { storeLarge } from "../support/storms/storms.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const MIB = 1024 ** 2;
const CONTAINER_BYTES = 256 * MIB;
const VALUE_BYTES = 16 * MIB;
const NEIGHBOURS = 2;
const REQUESTS = 200;

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const STORM_PROCESS = new URL("../support/storms/storm-process.ts", import.meta.url).pathname;

const { test } = needingThat(hasMemoryCgroups(), "the right to make a memory cgroup");

interface Weather {
  readonly storm: string;
  readonly flags: (place: { readonly folder: TempFolder; readonly storeUrl: string }) => readonly string[];
}

const PEERS = ["--peers=http://127.0.0.1:1", "--peer-token=secret", "--bootstrap=none"];
const LOADS = ["--write-mode=none", "--backend-timeout=10s"];
const ALL_WEATHER: readonly Weather[] = [
  { storm: "bodies that flood", flags: () => [] },
  { storm: "bodies that drip", flags: () => [] },
  { storm: "clients that don't read", flags: () => [] },
  { storm: "replication without a token", flags: () => PEERS },
  { storm: "batches with huge answers", flags: () => [] },
  { storm: "bombs to decode", flags: () => [] },
  { storm: "misses with huge answers", flags: ({ storeUrl }) => [`--backend-db=${storeUrl}`, ...LOADS] },
  {
    storm: "misses with huge answers",
    flags: ({ folder }) => [
      `--backend-db=sqlite:${folder.path}/values.db`,
      `--backend-read-sql=SELECT zeroblob(${VALUE_BYTES}) AS value WHERE :key <> ''`,
      ...LOADS,
    ],
  },
];

test.each(ALL_WEATHER)("a node in 256 MiB outlives $storm, and serves others", async ({ storm, flags }) => {
  const value = new Uint8Array(VALUE_BYTES);
  const store = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(value) });
  const group = memoryCgroup(CONTAINER_BYTES);
  if (group === null) throw new Error("the memory cgroup could not be made");
  using folder = tempFolder();
  try {
    const more = flags({ folder, storeUrl: `http://127.0.0.1:${store.port}` });
    await using node = await startIn(group, [`--data-dir=${folder.path}`, ...more]);
    if (!storm.startsWith("misses")) await storeLarge(node.port);
    const process = Bun.spawn([globalThis.process.execPath, STORM_PROCESS, storm, String(node.port)]);
    try {
      const report = await neighbour(node.port, REQUESTS, NEIGHBOURS);
      expect([report.requests, report.refused]).toEqual([REQUESTS * NEIGHBOURS, 0]);
    } finally {
      process.kill("SIGKILL");
      await process.exited;
    }
    expect([node.isAlive(), group.oomKills()]).toEqual([true, 0]);
    expect(node.peakBytes()).toBeLessThan(CONTAINER_BYTES);
  } finally {
    store.stop(true);
    await group[Symbol.asyncDispose]();
  }
});

async function startIn(group: MemoryCgroup, flags: readonly string[]) {
  const child = Bun.spawn([...group.prefix, process.execPath, MAIN, "serve", "--addr=127.0.0.1:0", ...flags], {
    env: { PATH: process.env.PATH ?? "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const first = await child.stdout.getReader().read();
  const line = new TextDecoder().decode(first.value);
  const port = Number(/:(\d+) /.exec(line)?.[1] ?? 0);
  if (port === 0) throw new Error(`the node did not start: ${await new Response(child.stderr).text()}`);
  return {
    port,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    peakBytes: () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) * 1024,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
