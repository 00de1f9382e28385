import { expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

test.each([
  ["300ms", 300],
  ["1.5h", 5_400_000],
  ["1h30m", 5_400_000],
  ["1us", 1],
  ["+90s", 90_000],
])("a TTL of %s ends after %d ms", async (ttl, ms) => {
  using node = new RestNode();
  await node.post("posted", "1", `,"ttl":"${ttl}"`);
  await node.call("PUT", `/api/cache/put?ttl=${encodeURIComponent(ttl)}`, { body: "1" });
  node.clock.nowMs += ms - 1;
  expect([(await node.get("posted")).status, (await node.get("put")).status]).toEqual([200, 200]);
  node.clock.nowMs += 1;
  expect([(await node.get("posted")).status, (await node.get("put")).status]).toEqual([404, 404]);
});

test.each(["-1s", "5", "abc", "", "1d", "1 s", "9999999999h"])("a TTL of %j is refused", async (ttl) => {
  using node = new RestNode();
  const posted = await node.post("key", "1", `,"ttl":${JSON.stringify(ttl)}`);
  expect([posted.status, posted.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
  const put = await node.call("PUT", `/api/cache/key?ttl=${encodeURIComponent(ttl)}`, { body: "1" });
  expect([put.status, put.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
});

test("Cache-Control says how many seconds are left, and nothing where there is no end", async () => {
  using node = new RestNode();
  await node.post("ends", "1", ',"ttl":"90s"');
  await node.post("stays", "1");
  node.clock.nowMs += 500;
  expect((await node.get("ends")).headers.get("cache-control")).toBe("max-age=89");
  expect((await node.get("stays")).headers.has("cache-control")).toBe(false);
});

test("the default TTL is for writes that name none; 0 never ends", async () => {
  using node = new RestNode({ defaultTtlMs: 60_000 });
  await node.post("default", "1");
  await node.post("null", "1", ',"ttl":null');
  await node.post("zero", "1", ',"ttl":"0"');
  await node.post("zero-number", "1", ',"ttl":0');
  await node.call("PATCH", "/api/cache/counter", { body: '{"increment":1}' });
  node.clock.nowMs += 60_000;
  const statuses = await Promise.all(
    ["default", "null", "counter", "zero", "zero-number"].map(async (key) => (await node.get(key)).status),
  );
  expect(statuses).toEqual([404, 404, 404, 200, 200]);
});

test("an entry that ended is counted as expired, and its memory is free after pruning", async () => {
  using node = new RestNode();
  await node.post("ends", "1", ',"ttl":"1s"');
  node.clock.nowMs += 1_200;
  node.prune();
  expect((await node.call("GET", "/api/stats")).json()).toMatchObject({ entries: 0, expirations: 1 });
});
