import { expect, test } from "bun:test";
import { isNotSent, messageOf, NotConnectedError } from "../../../src/engine/redis/errors.ts";

test.each([
  ["Stream isn't writeable and enableOfflineQueue options is false", "the connection is lost"],
  ["Cluster isn't ready and enableOfflineQueue options is false", "the connection is lost"],
])("what the client says without a connection is said in our words: %s", (message, expected) => {
  expect(messageOf(new Error(message))).toBe(expected);
  expect(isNotSent(new Error(message))).toBe(true);
});

test("other errors say what they say", () => {
  expect(messageOf(new NotConnectedError("connect ECONNREFUSED"))).toBe("connect ECONNREFUSED");
  expect(messageOf(new Error("Connection is closed."))).toBe("Connection is closed.");
  expect(isNotSent(new Error("Connection is closed."))).toBe(false);
});
