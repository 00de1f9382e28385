import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { hasValue, type PutMutation } from "../../src/model/mutation.ts";
import { type Stamp, toVersion } from "../../src/model/stamp.ts";
import { DataDirectory } from "../../src/outbox/data-directory.ts";
import { type OutboxEntry, type OutboxRow, rowOf } from "../../src/outbox/entry.ts";
import { Outbox, type OutboxOptions } from "../../src/outbox/outbox.ts";
import { ManualScheduler } from "./manual-scheduler.ts";

export interface TestOutbox extends Disposable {
  readonly outbox: Outbox;
  readonly scheduler: ManualScheduler;
}

/** Of a put. */
export interface PutRow extends OutboxRow {
  readonly mutation: PutMutation;
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

export function put(key: string, text: string, version: number, destination = "backend"): PutRow {
  const value = { bytes: Buffer.from(text), contentType: JSON_CONTENT_TYPE };
  const mutation = { kind: "put", key, value, expiresAtMs: NEVER, stamp: stampOf(version) } as const;
  return { ...rowOf(destination, mutation), mutation };
}

export function remove(key: string, version: number, destination = "backend"): OutboxRow {
  return rowOf(destination, { kind: "delete", key, stamp: stampOf(version) });
}

function stampOf(version: number): Stamp {
  return { version: toVersion(version), nodeId: 1 };
}

/** Everything that can be taken now. */
export function takeAll(outbox: Outbox, destination = "backend", limitEntries = 1_000_000): OutboxEntry[] {
  return outbox.take(destination, { limitEntries, limitBytes: 1e12, queuedUntilMs: Number.MAX_SAFE_INTEGER });
}

/** The value as text; empty = there is none. */
export function textOf({ mutation }: OutboxRow): string {
  return hasValue(mutation) ? mutation.value.bytes.toString() : "";
}

/** A row as `key=value@version`. */
export function shown(row: OutboxRow): string {
  const { kind, stamp } = row.mutation;
  return `${row.key}=${kind === "put" ? textOf(row) : "deleted"}@${stamp.version}`;
}
