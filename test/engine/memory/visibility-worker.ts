/** The other side of a game of catch: waits for its turn, reads what the test wrote, writes back the next number. */

import { workerData } from "node:worker_threads";
import { MemoryEngine, type MemoryHandle } from "../../../src/engine/memory/memory-engine.ts";
import { NEVER } from "../../../src/model/entry.ts";
import type { Version } from "../../../src/model/stamp.ts";
import { keyOf, RecordingSink } from "../../support/engine-io.ts";

const task: { handle: MemoryHandle; turn: SharedArrayBuffer; rounds: number } = workerData;
const engine = MemoryEngine.attach(task.handle, 1, { clock: Date.now, letOthersRun: () => Promise.resolve() });
const turn = new Int32Array(task.turn);
const key = keyOf("ball");
const sink = new RecordingSink();

for (let round = 1; round < task.rounds; round += 2) {
  while (Atomics.load(turn, 0) < round) Atomics.wait(turn, 0, round - 1);
  const seen = engine.get(key, sink) ? Number(sink.target.toString()) : -1;
  const source = Buffer.from(String(seen + 1));
  engine.put({
    key,
    source,
    start: 0,
    end: source.length,
    attributes: { contentType: "application/json" },
    expiresAtMs: NEVER,
    stamp: { version: (round + 1) as Version, nodeId: 0 },
    condition: null,
  });
  Atomics.store(turn, 0, round + 1);
  Atomics.notify(turn, 0);
}
