/** FAULTS 8 and 9: a data directory whose disk is full at a restart, or that is removed under a running node. */

import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type HttpStore, startHttpStore } from "../support/http-store.ts";
import { needingThat } from "../support/needing.ts";
import { callsOf } from "../support/node-calls.ts";
import { endServed, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const LONG_MS = 300_000;
const WRITES = 300;
const VALUE = "x".repeat(2_000);

let store: HttpStore;
beforeEach(() => {
  store = startHttpStore();
});
afterEach(async () => {
  await endServed();
  store[Symbol.dispose]();
});

const flags = (dataDirectory: string) => [
  "--addr=127.0.0.1:0",
  "--entry-memory=32MiB",
  `--data-dir=${dataDirectory}`,
  `--backend-db=${store.url}`,
];
const away = () => new Response("away", { status: 503 });
const keys = Array.from({ length: WRITES }, (_, at) => `key:${at}`);
const missing = () => keys.filter((key) => store.entries.get(key)?.body.toString() !== JSON.stringify(VALUE));

/** Starts a node before a database that is away, and kills it when it has acknowledged all writes. */
async function killWithWritesThatWait(dataDirectory: string): Promise<void> {
  store.answer = away;
  const node = await serve(flags(dataDirectory));
  for (const key of keys) expect((await callsOf(node.port).put(key, VALUE)).status).toBe(200);
  node.signal("SIGKILL");
  await node.finished();
}

describe("a disk that another program has filled while the node was down", () => {
  const mounted = tempFolder();
  const mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", mounted.path];
  const isMounted = Bun.which("mount") !== null && Bun.spawnSync(mount).exitCode === 0;
  afterAll(() => {
    if (isMounted) Bun.spawnSync(["umount", mounted.path]);
    mounted[Symbol.dispose]();
  });

  /** Writes until nothing more fits, not even the rest of a page. */
  function fill(): void {
    const file = openSync(join(mounted.path, "other"), "w");
    for (const bytes of [Buffer.alloc(1024 * 1024), Buffer.alloc(1)]) {
      try {
        for (;;) writeSync(file, bytes);
      } catch {
        // Full for this size.
      }
    }
    closeSync(file);
  }

  for (const hasBallast of [true, false]) {
    needingThat(isMounted, "the right to mount a tmpfs").test(
      `delivers what was acknowledged, and takes writes again when there is room, ${hasBallast ? "with" : "without"} its ballast`,
      async () => {
        const data = join(mounted.path, `data-${hasBallast}`);
        await killWithWritesThatWait(data);
        if (!hasBallast) rmSync(join(data, "ballast"));
        fill();

        store.answer = null;
        const node = await serve(flags(data));
        const calls = callsOf(node.port);
        await until("all are delivered", () => missing().length === 0, LONG_MS);
        expect((await calls.get("key:0")).status).toBe(200);
        expect(["ok", "degraded"]).toContain((await calls.json("/health")).status);

        rmSync(join(mounted.path, "other"));
        await until("writes are taken", async () => (await calls.put("after", 1)).status === 200, LONG_MS);
        await until("and delivered", () => store.entries.has("after"), LONG_MS);
        await until("nothing waits", async () => {
          return (await calls.json("/api/stats")).outbox.queues.backend.pending === 0;
        });
        expect((await calls.json("/health")).outbox.status).toBe("ok");
        node.signal("SIGTERM");
        expect((await node.finished()).exitCode).toBe(0);
        rmSync(data, { recursive: true });
      },
      LONG_MS,
    );
  }
});

describe("a data directory that is gone from under a running node", () => {
  let folder: TempFolder;
  beforeEach(() => {
    folder = tempFolder();
  });
  afterEach(() => folder[Symbol.dispose]());

  test.each([
    ["removed", (path: string) => rmSync(path, { recursive: true })],
    ["moved away", (path: string) => renameSync(path, `${path}-moved`)],
  ] as const)(
    "by being %s is noticed: writes are refused, /health says so, and what waits is delivered",
    async (_, takeAway) => {
      const data = join(folder.path, "data");
      store.answer = away;
      const node = await serve(flags(data));
      const calls = callsOf(node.port);
      for (const key of keys) expect((await calls.put(key, VALUE)).status).toBe(200);
      takeAway(data);
      await until("writes are refused", async () => (await calls.put("late", 1)).status === 503);
      const refused = await calls.put("later", 1);
      expect([refused.code, refused.headers.get("retry-after") !== null]).toEqual(["ERR_OUTBOX_FULL", true]);
      expect(refused.text).toContain(`SERV_CACHE_DATA_DIR ${data} was removed or replaced`);
      const health = await calls.json("/health");
      expect([health.status, health.outbox.status]).toEqual(["degraded", "degraded"]);
      expect(health.outbox.detail).toContain("was removed or replaced while the node runs");

      store.answer = null;
      await until("all are delivered", () => missing().length === 0, LONG_MS);
      expect(store.entries.has("later")).toBe(false);
    },
    LONG_MS,
  );
});
