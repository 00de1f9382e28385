import { afterAll, describe, expect, test } from "bun:test";
import { ttlIn } from "../../support/api.ts";
import { ANSWERS, RestNode } from "../../support/rest-node.ts";

const MS_PER_MINUTE = 60_000;

function putWithTtl(node: RestNode, key: string, ttl: string) {
  return node.call("PUT", `/api/cache/${key}?ttl=${encodeURIComponent(ttl)}`, { body: "1" });
}

describe.each(ANSWERS)("where the engine answers %s,", (answers) => {
  test.each([
    ["1ms", 1],
    ["300ms", 300],
    ["2s", 2_000],
    ["90s", 90_000],
    ["5m", 300_000],
    ["1.5h", 5_400_000],
    ["1h30m", 5_400_000],
    ["1h1m1s1ms", 3_661_001],
    ["30m1h", 5_400_000],
    [".5s", 500],
    ["1.s", 1_000],
    ["0.0015s", 2],
    ["+90s", 90_000],
    ["1us", 1],
    ["999us", 1],
    ["2540400h", 2_540_400 * 60 * MS_PER_MINUTE],
    ["1µs", 1],
    ["1μs", 1],
    ["1ns", 1],
    ["0.5ns", 1],
    ["0.0000000001s", 1],
    ["1000000ns", 1],
    ["1000001ns", 2],
  ])("a TTL of %s ends after %d ms, to the ms", async (ttl, ms) => {
    using node = new RestNode({ answers, defaultTtlMs: 7 });
    expect((await node.post("posted", "1", `,"ttl":${JSON.stringify(ttl)}`)).status).toBe(200);
    expect((await putWithTtl(node, "put", ttl)).status).toBe(200);
    node.clock.nowMs += ms - 1;
    expect([(await node.get("posted")).status, (await node.get("put")).status]).toEqual([200, 200]);
    node.clock.nowMs += 1;
    for (const key of ["posted", "put"]) {
      const ended = await node.get(key);
      expect([ended.status, ended.json().code]).toEqual([404, "ERR_NOT_FOUND"]);
      expect((await node.call("HEAD", `/api/cache/${key}`)).status).toBe(404);
    }
  });

  test.each(["0", "0s", "0h0m", "+0", "-0", "-0s", "0.000s"])(
    "a TTL of %j never ends, whatever the default",
    async (ttl) => {
      using node = new RestNode({ answers, defaultTtlMs: MS_PER_MINUTE });
      const posted = await node.post("posted", "1", `,"ttl":${JSON.stringify(ttl)}`);
      const put = await putWithTtl(node, "put", ttl);
      expect([posted.status, put.status]).toEqual([200, 200]);
      node.clock.nowMs += 100 * 365 * 24 * 60 * MS_PER_MINUTE;
      for (const key of ["posted", "put"]) {
        const found = await node.get(key);
        expect([found.status, ttlIn(found)]).toEqual([200, null]);
      }
    },
  );

  test("a TTL may be written with escapes", async () => {
    using node = new RestNode({ answers });
    await node.post("five", "1", ',"ttl":"\\u0035s"');
    await node.post("micro", "1", ',"ttl":"1500000\\u00b5s"');
    const ageOf = async (key: string) => ttlIn(await node.get(key));
    expect([await ageOf("five"), await ageOf("micro")]).toEqual([5, 1]);
  });

  test.each([MS_PER_MINUTE, null])("writes that name no TTL get the node's default: %p", async (defaultTtlMs) => {
    using node = new RestNode({ answers, ...(defaultTtlMs === null ? {} : { defaultTtlMs }) });
    await node.post("posted", "1");
    await node.post("null", "1", ',"ttl":null');
    await node.call("PUT", "/api/cache/put", { body: "1" });
    const statuses = async () =>
      Promise.all(["posted", "null", "put"].map(async (key) => (await node.get(key)).status));
    node.clock.nowMs += MS_PER_MINUTE - 1;
    expect(await statuses()).toEqual([200, 200, 200]);
    node.clock.nowMs += 1;
    const then = defaultTtlMs === null ? 200 : 404;
    expect(await statuses()).toEqual([then, then, then]);
  });
});

describe.each(ANSWERS)("where the engine answers %s, a TTL is refused where it is", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

  test.each(["-1s", "-5s", "-1ns", "-0.5ns", "-1h", "-2562047h"])("negative: %s", async (ttl) => {
    for (const answer of [
      await node.post("key", "1", `,"ttl":${JSON.stringify(ttl)}`),
      await putWithTtl(node, "key", ttl),
    ]) {
      expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
      expect(answer.json().error).toStartWith(`ttl is "${ttl}", which is negative: send a Go duration`);
    }
    expect((await node.get("key")).status).toBe(404);
  });

  test.each([
    ...[
      "",
      " ",
      "5",
      "00",
      "abc",
      "s",
      ".s",
      "1d",
      "1w",
      "1S",
      "1 s",
      "5S",
      "ten",
      "5 s",
      " 1s",
      "1s ",
      "1s1",
      "1,5s",
      "1e3s",
      "--1s",
      "+-1s",
    ],
    ...["٣s", "1s\u0000", "\ud800", "null", "Infinity", "0x10s", "2562048h", "9999999999h", "9223372036854775808ns"],
    "1".repeat(400),
  ])("not a duration, or out of range: %j", async (ttl) => {
    const posted = await node.post("key", "1", `,"ttl":${JSON.stringify(ttl)}`);
    expect([posted.status, posted.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
    const touch = await node.call("PATCH", "/api/cache/key", { body: JSON.stringify({ ttl }) });
    expect([touch.status, touch.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
    if (!ttl.isWellFormed()) return;
    const put = await putWithTtl(node, "key", ttl);
    expect([put.status, put.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
  });

  test.each(["5", "-1", "1.0", "0.0", "0.5", "-0", "true", "false", "[]", '["1s"]', "{}", '{"ttl":"1s"}'])(
    "no string: %s",
    async (ttl) => {
      const answer = await node.post("key", "1", `,"ttl":${ttl}`);
      expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
      const touch = await node.call("PATCH", "/api/cache/key", { body: `{"ttl":${ttl}}` });
      expect([touch.status, touch.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
      expect((await node.get("key")).status).toBe(404);
    },
  );

  test.each([
    ["a long word", `"${"x".repeat(1_000_000)}"`],
    ["a long duration", `"${"0h".repeat(1_000_000)}1s"`],
    ["a long fraction", `"1.${"0".repeat(1_000_000)}s"`],
    ["101 characters", `"${"0".repeat(99)}1s"`],
    ["nested deep", "[".repeat(1_000_000) + "]".repeat(1_000_000)],
    ["a long number", "9".repeat(1_000_000)],
  ])("too long, and then the answer is short: %s", async (_, ttl) => {
    const answer = await node.post("key", "1", `,"ttl":${ttl}`);
    expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
    expect(answer.text.length).toBeLessThan(500);
  });
});

test("a TTL of 100 characters is read", async () => {
  using node = new RestNode();
  expect((await node.post("key", "1", `,"ttl":"${"0".repeat(98)}1s"`)).status).toBe(200);
  expect((await node.get("key")).headers.get("cache-status")).toBe("ServCache; hit; ttl=1");
});

test("the longest TTL, 292 years, is kept to the end", async () => {
  using node = new RestNode();
  await node.post("long", "1", ',"ttl":"2562047h"');
  expect((await node.get("long")).headers.get("cache-status")).toBe("ServCache; hit; ttl=9223369200");
  node.clock.nowMs += 2_562_047 * 60 * MS_PER_MINUTE - 1;
  expect((await node.get("long")).status).toBe(200);
  node.clock.nowMs += 1;
  expect((await node.get("long")).status).toBe(404);
});

test("Cache-Status says how many whole seconds are left", async () => {
  using node = new RestNode();
  await node.post("ends", "1", ',"ttl":"90s"');
  const ttls = [];
  for (const passMs of [0, 1, 499, 500, 88_000, 999]) {
    node.clock.nowMs += passMs;
    ttls.push(ttlIn(await node.get("ends")));
  }
  expect(ttls).toEqual([90, 89, 89, 89, 1, 0]);
});

test("the default TTL is for writes that name none", async () => {
  using node = new RestNode({ defaultTtlMs: MS_PER_MINUTE });
  await node.post("default", "1");
  await node.post("null", "1", ',"ttl":null');
  await node.call("PUT", "/api/cache/put", { body: "1" });
  await node.call("PATCH", "/api/cache/counter", { body: '{"increment":1}' });
  await node.post("own", "1", ',"ttl":"2m"');
  await node.post("zero", "1", ',"ttl":"0"');
  await node.post("zero-number", "1", ',"ttl":0');
  node.clock.nowMs += MS_PER_MINUTE - 1;
  const statuses = async (...keys: string[]) => Promise.all(keys.map(async (key) => (await node.get(key)).status));
  const defaults = ["default", "null", "put", "counter"];
  expect(await statuses(...defaults)).toEqual([200, 200, 200, 200]);
  node.clock.nowMs += 1;
  expect(await statuses(...defaults)).toEqual([404, 404, 404, 404]);
  expect(await statuses("own", "zero", "zero-number")).toEqual([200, 200, 200]);
});

test("without a default TTL entries stay", async () => {
  using node = new RestNode();
  await node.post("stays", "1");
  node.clock.nowMs += 10 * 365 * 24 * 60 * MS_PER_MINUTE;
  const found = await node.get("stays");
  expect([found.status, ttlIn(found)]).toEqual([200, null]);
});

test("a write sets the TTL anew, and takes it away where it names none", async () => {
  using node = new RestNode();
  await node.post("key", "1", ',"ttl":"1s"');
  node.clock.nowMs += 999;
  await node.post("key", "2", ',"ttl":"1s"');
  node.clock.nowMs += 999;
  expect((await node.get("key")).json().value).toBe(2);
  await node.post("key", "3");
  node.clock.nowMs += MS_PER_MINUTE;
  node.prune();
  expect((await node.get("key")).json().value).toBe(3);
});

test("a key whose entry ended can be written again before and after pruning", async () => {
  using node = new RestNode();
  for (const prune of [() => {}, () => node.prune()]) {
    await node.post("key", "1", ',"ttl":"1s"');
    node.clock.nowMs += 1_000;
    prune();
    expect((await node.get("key")).status).toBe(404);
    const created = await node.call("PUT", "/api/cache/key", { headers: { "If-None-Match": "*" }, body: "again" });
    expect(created.status).toBe(200);
    expect((await node.get("key")).text).toBe("again");
  }
});

test("an entry that ended is counted as expired, and its memory is free after pruning", async () => {
  using node = new RestNode();
  await node.post("ends", "1", ',"ttl":"1s"');
  node.clock.nowMs += 1_200;
  node.prune();
  expect((await node.call("GET", "/api/stats")).json()).toMatchObject({ entries: 0, expirations: 1 });
});
