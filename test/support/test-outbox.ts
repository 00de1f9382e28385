import type { Version } from "../../src/model/stamp.ts";
import { DataDirectory } from "../../src/outbox/data-directory.ts";
import type { OutboxEntry, OutboxMutation } from "../../src/outbox/entry.ts";
import { Outbox, type OutboxOptions } from "../../src/outbox/outbox.ts";
import { ManualScheduler } from "./manual-scheduler.ts";

export interface TestOutbox extends Disposable {
  readonly outbox: Outbox;
  readonly scheduler: ManualScheduler;
}

/** An outbox in a folder, with a clock of the test's own. */
export function openTestOutbox(folder: string, options: Partial<OutboxOptions> = {}): TestOutbox {
  const scheduler = new ManualScheduler();
  const directory = DataDirectory.open(folder);
  let outbox: Outbox;
  try {
    outbox = Outbox.open(directory, {
      sync: "normal",
      limitPages: null,
      limitBytes: 64 * 1024 * 1024,
      scheduler,
      defer: (run) => setImmediate(run),
      ...options,
    });
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
  return {
    outbox,
    scheduler,
    [Symbol.dispose]() {
      outbox.close();
      directory[Symbol.dispose]();
    },
  };
}

export function put(key: string, text: string, version: number, destination = "backend"): OutboxMutation {
  return {
    destination,
    key,
    kind: "put",
    value: Buffer.from(text),
    contentType: "application/json",
    expiresAtMs: 0,
    stamp: { version: version as Version, nodeId: 1 },
  };
}

export function remove(key: string, version: number, destination = "backend"): OutboxMutation {
  return { ...put(key, "", version, destination), kind: "delete", value: null, contentType: "" };
}

/** Everything that can be taken now. */
export function takeAll(outbox: Outbox, destination = "backend", limitEntries = 1_000_000): OutboxEntry[] {
  return outbox.take(destination, { limitEntries, limitBytes: 1e12, queuedUntilMs: Number.MAX_SAFE_INTEGER });
}

/** An entry as `key=value@version`. */
export function shown(entry: OutboxMutation): string {
  return `${entry.key}=${entry.kind === "put" ? entry.value : "deleted"}@${entry.stamp.version}`;
}
