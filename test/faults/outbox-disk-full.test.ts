/** A disk that is really full. Needs the right to mount a tmpfs; elsewhere `damage.test.ts` stands in for it. */
import { afterAll, expect } from "bun:test";
import { join } from "node:path";
import { DataDirectory } from "../../src/outbox/data-directory.ts";
import { Outbox } from "../../src/outbox/outbox.ts";
import { OutboxFullError } from "../../src/outbox/outbox-errors.ts";
import { systemScheduler } from "../../src/runtime/scheduler.ts";
import { needingThat } from "../support/needing.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { put, takeAll } from "../support/test-outbox.ts";
import { until } from "../support/until.ts";

const folder = tempFolder();
const mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder.path];
const mounted = Bun.which("mount") !== null && Bun.spawnSync(mount).exitCode === 0;
afterAll(() => {
  if (mounted) Bun.spawnSync(["umount", folder.path]);
  folder[Symbol.dispose]();
});

needingThat(mounted, "the right to mount a tmpfs").test(
  "a full disk refuses appends, keeps what was acknowledged, and recovers without a restart",
  async () => {
    using directory = DataDirectory.open(join(folder.path, "data"));
    const outbox = Outbox.open(directory, {
      sync: "normal",
      limitPages: null,
      limitBytes: 1024 * 1024 * 1024,
      scheduler: systemScheduler,
      defer: (run) => setImmediate(run),
    });
    let version = 0;
    const append = async () => {
      version += 1;
      await outbox.append([put(`key:${version}`, "x".repeat(5_000), version)]);
      return `key:${version}`;
    };
    for (let round = 0; round < 3; round++) {
      const accepted: string[] = [];
      let refusal: unknown = null;
      while (refusal === null) {
        try {
          accepted.push(await append());
        } catch (error) {
          refusal = error;
        }
      }
      expect(refusal).toBeInstanceOf(OutboxFullError);
      const taken = takeAll(outbox);
      expect(taken.map((entry) => entry.key)).toEqual(accepted);
      await outbox.settle(taken.map((entry) => ({ kind: "done", entry })));
      let first = "";
      await until("there is room again", async () => {
        first = await append().catch(() => "");
        return first !== "";
      });
      const [entry] = takeAll(outbox);
      expect(entry?.key).toBe(first);
      if (entry !== undefined) await outbox.settle([{ kind: "done", entry }]);
    }
    outbox.close();
  },
  300_000,
);
