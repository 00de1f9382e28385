/**
 * Lets one node at a time go from looking whether a port is free to listening on it: two that start together would both
 * find it free, and then share it (`SO_REUSEPORT`). What the later one finds then is a port in use.
 */

import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataDirectory } from "../outbox/data-directory.ts";
import { DataDirectoryInUseError } from "../outbox/outbox-errors.ts";
import { NodeError } from "./errors.ts";

const LOOK_EVERY_MS = 20;
/** A start that takes longer hangs. */
const MOST_MS = 60_000;

type Unlock = () => void;

/** Waits for its turn. The system takes the lock back with the process, however that ends. Throws `NodeError`. */
export async function lockPort(port: number): Promise<Unlock> {
  if (port === 0) return () => {};
  const take = process.platform === "linux" ? takeSocket : takeFile;
  const endMs = performance.now() + MOST_MS;
  for (;;) {
    const unlock = await take(port);
    if (unlock !== null) return unlock;
    if (performance.now() > endMs) {
      throw new NodeError(
        `another node has been starting on port ${port} for a minute: stop it or choose another port`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** A name of Linux' own for sockets, which no file stands for: as ports are, it is one for each network namespace. */
function takeSocket(port: number): Promise<Unlock | null> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if ("code" in error && error.code === "EADDRINUSE") resolve(null);
      else reject(error);
    });
    server.listen(`\0servcache-start-${port}`, () => resolve(() => server.close()));
  });
}

async function takeFile(port: number): Promise<Unlock | null> {
  try {
    const folder = DataDirectory.open(join(tmpdir(), `servcache-start-${port}-${process.getuid?.() ?? ""}`));
    return () => folder[Symbol.dispose]();
  } catch (error) {
    if (error instanceof DataDirectoryInUseError) return null;
    throw error;
  }
}
