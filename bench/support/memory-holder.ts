/** A process that holds an engine with so many entries (first argument); prints what it takes, as JSON, and ends. */

import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { bytesForEntries } from "../../src/engine/memory/sizing.ts";
import { EngineRequests, KEY_BYTES, keyText } from "./engine-keys.ts";
import { VALUE_BYTES } from "./engine-stores.ts";
import { residentBytes } from "./process.ts";

/** So that nothing is evicted, however unevenly keys fall into shards; room that stays empty costs nothing. */
const ROOM = 1.2;

const count = Number(process.argv[2]);
const beforeBytes = residentBytes(process.pid);
const limitBytes = Math.ceil(bytesForEntries(count, KEY_BYTES, VALUE_BYTES) * ROOM);
const engine = MemoryEngine.create({ limitBytes, threads: 1, clock: Date.now });
const key = { bytes: Buffer.alloc(KEY_BYTES), length: KEY_BYTES };
const requests = new EngineRequests(VALUE_BYTES, key);
for (let number = 0; number < count; number++) {
  key.bytes.write(keyText(number), "latin1");
  if (engine.put(requests.put(key)) !== "stored") throw new Error(`put ${number} was not stored`);
}
Bun.gc(true);
const { entries, usedBytes } = await engine.stats();
console.log(JSON.stringify({ entries, usedBytes, beforeBytes, residentBytes: residentBytes(process.pid) }));
