import { describe, expect, test } from "bun:test";
import { formatAddress, parseAddress } from "../../src/config/address.ts";

describe("addresses", () => {
  test.each([
    [":8088", "", 8088],
    ["8088", "", 8088],
    [":0", "", 0],
    ["127.0.0.1:8088", "127.0.0.1", 8088],
    ["localhost:65535", "localhost", 65_535],
    ["cache-1.internal:80", "cache-1.internal", 80],
    ["[::1]:8088", "::1", 8088],
    ["[::]:8088", "::", 8088],
  ])("%p is host %p, port %p", (text, hostname, port) => {
    expect(parseAddress(text)).toEqual({ hostname, port });
  });

  test.each(
    [
      "",
      ":",
      "localhost",
      "127.0.0.1",
      ":65536",
      ":-1",
      ":8o88",
      ": 8088",
      ":000008088",
      "::1",
      "::1:8088",
      "[::1]",
      "[::1]8088",
      "[127.0.0.1]:80",
      "[zz]:80",
      "http://localhost:80",
      "a b:80",
      "-a:80",
      "127.0.0.1:80/x",
    ].map((text) => [text]),
  )("%p is no address", (text) => {
    expect(parseAddress(text)).toBeNull();
  });

  test.each([
    ["", "0.0.0.0:8088"],
    ["127.0.0.1", "127.0.0.1:8088"],
    ["::1", "[::1]:8088"],
  ])("host %p is shown as %p", (hostname, text) => {
    expect(formatAddress({ hostname, port: 8088 })).toBe(text);
  });
});
