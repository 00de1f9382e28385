import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/config.ts";
import type { NodeError } from "../../src/node/errors.ts";
import { type HttpThreads, startHttpThreads } from "../../src/node/http-threads.ts";
import { makeSharedParts } from "../../src/node/shared-parts.ts";
import { machine } from "../support/machine.ts";

const { config } = loadConfig(["--entry-memory=64MiB"], {}, machine);
const shared = makeSharedParts(config, 3, null);

function start(
  script: string,
  hostname: string,
  onFailure: (error: NodeError) => void,
  onRequestFailed: (traceId: string, reason: string) => void = () => {},
): Promise<HttpThreads> {
  return startHttpThreads({
    script: new URL(`../support/threads/${script}.ts`, import.meta.url),
    count: 2,
    data: { config, shared, hostname, port: 0 },
    hub: null,
    onFailure,
    onRequestFailed,
  });
}

function unexpectedFailure(error: NodeError): never {
  throw error;
}

describe("HTTP threads", () => {
  test("stop the start with one line where a thread can't start", async () => {
    const unexpected: NodeError[] = [];
    const starting = start("fails-at-start", "", (error) => unexpected.push(error));
    await expect(starting).rejects.toThrow("HTTP thread 1 failed (no listener today): the node stops");
    expect(unexpected).toEqual([]);
  });

  test.each([
    ["throws", "HTTP thread 2 failed (broken): the node stops"],
    ["rejects", "HTTP thread 2 failed (rejected): the node stops"],
    ["exits", "HTTP thread 2 ended with code 7: the node stops"],
  ])("report a thread that %s, so that the node never lives on by half", async (way, message) => {
    const failure = Promise.withResolvers<NodeError>();
    const threads = await start("fails-later", way, failure.resolve);
    expect(threads.port).toBe(4321);
    threads.drain(1_000);
    expect((await failure.promise).message).toBe(message);
    await threads.stop();
  });

  test("report a request that failed, and go on", async () => {
    const reported = Promise.withResolvers<string>();
    const threads = await start("fails-later", "request", unexpectedFailure, (traceId, reason) =>
      reported.resolve(`${traceId}: ${reason}`),
    );
    const drained = threads.drain(1_000);
    expect(await reported.promise).toBe("4711: a bug");
    await drained;
    await threads.stop();
  });

  test("report nothing when they are stopped", async () => {
    const unexpected: NodeError[] = [];
    const threads = await start("fails-later", "never", (error) => unexpected.push(error));
    await threads.stop();
    expect(unexpected).toEqual([]);
  });
});
