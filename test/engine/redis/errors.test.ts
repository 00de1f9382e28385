import { expect, test } from "bun:test";
import { EngineFullError, EngineRefusedError, EngineUnavailableError } from "../../../src/engine/engine.ts";
import {
  CommandTimeoutError,
  classify,
  mayRetry,
  NotConnectedError,
  problemOf,
  toReadError,
  toWriteError,
} from "../../../src/engine/redis/errors.ts";

function reply(message: string): Error {
  const error = new Error(message);
  error.name = "ReplyError";
  return error;
}

test.each([
  ["Stream isn't writeable and enableOfflineQueue options is false", "the connection is lost"],
  ["Cluster isn't ready and enableOfflineQueue options is false", "the connection is lost"],
  ["Connection is closed.", "the connection is lost"],
  ["connect ECONNREFUSED", "connect ECONNREFUSED"],
])("what the client says of its connection is said in our words: %s", (message, expected) => {
  expect(problemOf(new Error(message))).toBe(expected);
});

test.each([
  ["MOVED 1 127.0.0.1:7000", "not-now", true],
  ["CLUSTERDOWN The cluster is down", "away", true],
  ["LOADING Redis is loading the dataset in memory", "away", true],
  ["READONLY You can't write against a read only replica.", "not-now", true],
  ["MISCONF Redis is configured to save RDB snapshots", "not-now", false],
  ["NOPERM User app has no permissions", "forbidden", false],
  ["OOM command not allowed when used memory > 'maxmemory'.", "full", false],
  ["WRONGTYPE Operation against a key holding the wrong kind of value", "wrong-type", false],
  ["ERR unknown command", "other", false],
])("a reply means what it says to its own command: %s", (message, failure, retries) => {
  expect(classify(reply(message))).toBe(failure as ReturnType<typeof classify>);
  expect(mayRetry(reply(message), false)).toBe(retries);
});

test("a lost connection is tried again where that does no harm, a time-out never, what was not sent always", () => {
  const lost = new Error("Connection is closed.");
  expect([mayRetry(lost, true), mayRetry(lost, false)]).toEqual([true, false]);
  expect(mayRetry(new CommandTimeoutError("set", 250), true)).toBe(false);
  expect(mayRetry(new NotConnectedError("refused"), false)).toBe(true);
});

test("a write that may have been done says so; a read, and what was not sent, do not", () => {
  const timeout = new CommandTimeoutError("set", 250);
  expect(toWriteError(timeout, 1000)).toMatchObject({
    code: "ERR_ENGINE_UNAVAILABLE",
    message: expect.stringMatching(/did not answer set within 250 ms\. Whether this write was done is not known/),
  });
  for (const error of [
    toReadError(timeout, 1000),
    toWriteError(new NotConnectedError("refused"), 1000),
    toWriteError(reply("MISCONF no disk"), 1000),
  ]) {
    expect(error).toBeInstanceOf(EngineUnavailableError);
    expect(problemOf(error)).not.toContain("not known");
  }
});

test("errors of one command are the engine's words for them", () => {
  expect(toWriteError(reply("NOPERM no"), 0)).toBeInstanceOf(EngineRefusedError);
  expect(toWriteError(reply("NOPERM no"), 0)).toMatchObject({ code: "ERR_ENGINE_FORBIDDEN" });
  expect(toWriteError(reply("WRONGTYPE no"), 0)).toMatchObject({ code: "ERR_WRONG_TYPE" });
  expect(toWriteError(reply("OOM no"), 0)).toBeInstanceOf(EngineFullError);
});
