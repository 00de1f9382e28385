import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { endServed, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const ROOT = join(import.meta.dir, "..", "..");
/** In a put, under the lock of its shard, and in the middle of a change of the index. */
const PLACE = "    this.index.insert(shard, hash, location);\n";

/** A copy of the sources in which the put of the key `fatal` does something fatal half way. */
function treeWith(fatal: string, folder: string): string {
  for (const part of ["src", "package.json", "tsconfig.json"]) {
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const path = join(folder, "src/engine/memory/shard-store.ts");
  const parts = readFileSync(path, "utf8").split(PLACE);
  if (parts.length !== 2) throw new Error(`the place to plant in occurs ${parts.length - 1} times`);
  const planted = `    if (this.hasKey(location, Buffer.from("fatal"), 5)) ${fatal}\n`;
  writeFileSync(path, parts.join(planted + PLACE));
  return join(folder, "src/main.ts");
}

/** What a client sees of a call: a status, or that the connection broke. */
async function outcomeOf(call: Promise<Response>): Promise<number> {
  try {
    const response = await call;
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

describe.each([
  // The main thread hears of the end, or meets the lock first.
  ["ends", "process.exit(7);", /HTTP thread \d ended with code 7: the node stops|thread \d has died with a lock/],
  ["throws", 'throw new RangeError("planted");', /a change of the memory failed half way \(RangeError: planted\)/],
] as const)("a node of which a thread %s in mid-put, with a lock", (_, fatal, message) => {
  let folder: TempFolder;
  let main: string;
  beforeAll(() => {
    folder = tempFolder();
    main = treeWith(fatal, folder.path);
  });
  afterAll(() => folder[Symbol.dispose]());
  afterEach(endServed);

  test("ends with a message and code 1, though other threads wait for that lock", async () => {
    // The smallest memory has few shards, so that what is put besides comes to the same lock.
    const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=4MiB", "--workers=2"], {}, main);
    const put = (key: string) =>
      outcomeOf(fetch(`http://127.0.0.1:${node.port}/api/cache/${key}`, { method: "PUT", body: "1" }));
    expect(await put("fine")).toBe(200);
    await Promise.all(["fatal", ...Array.from({ length: 40 }, (_, number) => `other${number}`)].map(put));
    const { exitCode, stderr } = await node.finished();
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(1);
  }, 300_000);
});
