import { describe, expect, test } from "bun:test";
import { RedisConfigError } from "../../../src/engine/redis/errors.ts";
import { parseRedisUrl, type RedisTarget } from "../../../src/engine/redis/redis-url.ts";

const PLAIN: RedisTarget = {
  addresses: [{ host: "127.0.0.1", port: 6379 }],
  sentinelName: null,
  tls: false,
  username: null,
  password: null,
  database: 0,
};

describe("a Redis URL", () => {
  test.each<[string, Partial<RedisTarget>]>([
    ["redis://", {}],
    ["redis://localhost", { addresses: [{ host: "localhost", port: 6379 }] }],
    ["valkey://cache:7000/", { addresses: [{ host: "cache", port: 7000 }] }],
    ["REDISS://cache/2", { addresses: [{ host: "cache", port: 6379 }], tls: true, database: 2 }],
    ["valkeys://:pw@cache", { addresses: [{ host: "cache", port: 6379 }], tls: true, password: "pw" }],
    [
      "redis://us%40er:p%3A%2F%40%2C@h",
      { addresses: [{ host: "h", port: 6379 }], username: "us@er", password: "p:/@," },
    ],
    ["redis://user:p@ss@h", { addresses: [{ host: "h", port: 6379 }], username: "user", password: "p@ss" }],
    ["redis://[::1]:7001", { addresses: [{ host: "::1", port: 7001 }] }],
    [
      "redis://a:1,b:2,c",
      {
        addresses: [
          { host: "a", port: 1 },
          { host: "b", port: 2 },
          { host: "c", port: 6379 },
        ],
      },
    ],
    [
      "redis://:pw@a:1,redis://:pw@b:2",
      {
        addresses: [
          { host: "a", port: 1 },
          { host: "b", port: 2 },
        ],
        password: "pw",
      },
    ],
    [
      "redis+sentinel://a,b:2/mymaster",
      {
        addresses: [
          { host: "a", port: 26379 },
          { host: "b", port: 2 },
        ],
        sentinelName: "mymaster",
      },
    ],
    [
      "valkeys+sentinel://u:p@a/my%20one/3",
      {
        addresses: [{ host: "a", port: 26379 }],
        sentinelName: "my one",
        tls: true,
        username: "u",
        password: "p",
        database: 3,
      },
    ],
  ])("%s is understood", (text, expected) => {
    expect(parseRedisUrl(text)).toEqual({ ...PLAIN, ...expected });
  });

  test.each<[string, RegExp]>([
    ["", /expected redis:\/\//],
    ["localhost:6379", /expected redis:\/\//],
    ["http://h", /expected redis:\/\//],
    ["redis://h:0", /port 0/],
    ["redis://h:65536", /port 65536/],
    ["redis://h:x", /not host:port/],
    ["redis://::1:6379", /brackets/],
    ["redis://h/x", /database "x"/],
    ["redis://h/1/2", /database/],
    ["redis://a,,b", /server 2 is empty/],
    ["redis://a,rediss://b", /same scheme/],
    ["redis://:x@a,redis://:y@b", /same credentials/],
    ["redis://user@h", /without a password/],
    ["redis://:%zz@h", /hex digits/],
    ["redis://h?db=1", /parameters/],
    ["redis+sentinel://h", /name of the primary is missing/],
  ])("%s is refused with a reason", (text, reason) => {
    expect(() => parseRedisUrl(text)).toThrow(RedisConfigError);
    expect(() => parseRedisUrl(text)).toThrow(reason);
  });

  test("a refusal never shows the password", () => {
    for (const text of ["redis://user:secret@h:x", "redis://:secret@a,redis://:secret2@b", "redis://:sec/ret@h:x"]) {
      expect(() => parseRedisUrl(text)).toThrow(/REDIS_URL/);
      expect(() => parseRedisUrl(text)).not.toThrow(/sec/);
    }
  });
});
