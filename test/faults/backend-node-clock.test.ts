/** A node whose clock is behind, or whose database holds versions of the future, still brings its writes there. */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import { callsOf } from "../support/node-calls.ts";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

test.each(["behind", "through"])("rows of the future give way to acknowledged writes in mode %s", async (mode) => {
  using folder = tempFolder();
  const file = join(folder.path, "shop.db");
  const flags = ["--addr=127.0.0.1:0", "--entry-memory=32MiB", `--backend-db=sqlite:${file}`, `--write-mode=${mode}`];
  const first = await serve([...flags, `--data-dir=${join(folder.path, "first")}`]);
  for (const key of ["hour", "huge"]) expect((await callsOf(first.port).put(key, "old")).status).toBe(200);
  first.signal("SIGTERM");
  await first.finished();
  // For a node with a new data directory this is the same as a clock that is an hour behind.
  const database = new Database(file);
  const set = database.prepare("UPDATE servcache_entries SET version = ? WHERE key = ?");
  set.run(versionAt(Date.now() + 3_600_000), "hour");
  set.run(Number.MAX_SAFE_INTEGER, "huge");
  const second = await serve([...flags, `--data-dir=${join(folder.path, "second")}`]);
  const calls = callsOf(second.port);
  for (const key of ["hour", "huge"]) expect((await calls.put(key, "new")).status).toBe(200);
  const stored = database.query<{ value: string }, []>("SELECT value FROM servcache_entries ORDER BY key");
  await until("the new values are stored", () => stored.all().every(({ value }) => value === '"new"'));
  expect((await calls.call("GET", "/health")).text).toContain("2 were replaced, 0 kept a write out");
  database.close();
});
