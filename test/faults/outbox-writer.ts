/** A process that appends to an outbox as fast as it can and says what was acknowledged, until it is killed. */

import { DataDirectory } from "../../src/outbox/data-directory.ts";
import { Outbox } from "../../src/outbox/outbox.ts";
import { systemScheduler } from "../../src/runtime/scheduler.ts";
import { put } from "../support/test-outbox.ts";

const [folder, firstVersion] = process.argv.slice(2);
const outbox = Outbox.open(DataDirectory.open(folder ?? ""), {
  sync: "normal",
  limitPages: null,
  limitBytes: 1024 * 1024 * 1024,
  scheduler: systemScheduler,
  defer: (run) => setImmediate(run),
});
const output = Bun.stdout.writer();
if (outbox.warnings.length > 0) output.write(`warning ${outbox.warnings.join("; ")}\n`);

let version = Number(firstVersion);
async function writeForEver(): Promise<void> {
  for (;;) {
    const mine = version++;
    // Every key is written again and again, so that a lost replacement shows, too.
    await outbox.append([put(`key:${mine % 500}`, String(mine), mine)]);
    output.write(`${mine}\n`);
    await output.flush();
  }
}
for (let i = 0; i < 16; i++) void writeForEver();
