import { expect, test } from "bun:test";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..", "..");

// FAULTS 27: never half-alive with a health that says "ok".
test.each([
  ["a thread throws", "2", /^servcache: HTTP thread 2 failed \(.+\): the node stops\n$/],
  ["a thread ends", "2", /^servcache: HTTP thread 2 ended with code \d+: the node stops\n$/],
  ["the main thread throws", "2", /^servcache: unexpected failure: Error: broken in two lines\n$/],
  ["the main thread rejects", "2", /^servcache: unexpected failure: Error: broken\n$/],
  [
    "a change of the memory fails",
    "1",
    /\nservcache: unexpected failure: Error: a change of the memory failed half way \(Error: broken\): .+\n$/,
  ],
  ["the main thread throws", "1", /^servcache: unexpected failure: Error: broken in two lines\n$/],
])("where %s, a node of %s threads says so in one line and ends with code 1", async (breaks, workers, said) => {
  const preload = join(ROOT, "test/support/threads/break-preload.ts");
  const command = [process.execPath, "--preload", preload, join(ROOT, "src/main.ts"), "serve", "--addr=127.0.0.1:0"];
  const node = Bun.spawn([...command, "--entry-memory=16MiB", `--workers=${workers}`], {
    env: { PATH: process.env.PATH ?? "", BREAKS: breaks },
    stdout: "pipe",
    stderr: "pipe",
  });
  try {
    const ready = new TextDecoder().decode((await node.stdout.getReader().read()).value);
    const port = Number(/:(\d+) /.exec(ready)?.[1]);
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
    node.kill("SIGUSR2");
    if (breaks === "a change of the memory fails") await putUntilItEnds(port, node.exited);
    expect(await node.exited).toBe(1);
    expect(await new Response(node.stderr).text()).toMatch(said);
    await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow("Unable to connect");
  } finally {
    node.kill("SIGKILL");
    await node.exited;
  }
});

/** Puts entries, whatever becomes of them, until the node is gone. */
async function putUntilItEnds(port: number, exited: Promise<number>): Promise<void> {
  let isUp = true;
  exited.then(() => {
    isUp = false;
  });
  for (let number = 0; isUp; number++) {
    const body = JSON.stringify({ key: `key:${number}`, value: 1 });
    await fetch(`http://127.0.0.1:${port}/api/cache`, { method: "POST", body }).catch(() => undefined);
  }
}
