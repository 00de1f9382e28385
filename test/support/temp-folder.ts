import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TempFolder extends Disposable {
  readonly path: string;
}

/** A folder of its own, gone when it is disposed of. */
export function tempFolder(): TempFolder {
  const path = mkdtempSync(join(tmpdir(), "servcache-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
