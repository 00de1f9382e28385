/** Writes that are answered when they are recorded: the connection, its requests and its buffers in the meantime. */
import { describe, expect, test } from "bun:test";
import { expectSuccess, requestBytes, startTestApi, type TestApi } from "../../support/api.ts";
import { FakeUpstream, outboxFull, shownMutation } from "../../support/fake-upstream.ts";
import { RawClient } from "../../support/raw-client.ts";
import { until } from "../../support/until.ts";

/** An upstream that records nothing before it is told to. */
class HeldUpstream extends FakeUpstream {
  waiting = 0;
  #held = Promise.withResolvers<void>();

  constructor() {
    super();
    this.loads = false;
    this.onRecord = () => {
      this.waiting++;
      return this.#held.promise;
    };
  }

  /** Lets what waits, and all that comes after it, through; with an error: refuses it. */
  release(error?: Error): void {
    if (error === undefined) this.#held.resolve();
    else this.#held.reject(error);
  }
}

async function held(): Promise<{ api: TestApi; upstream: HeldUpstream; client: RawClient }> {
  const upstream = new HeldUpstream();
  const api = await startTestApi({ upstream });
  return { api, upstream, client: await RawClient.open(api.port) };
}

function post(key: string, value: string): Buffer {
  return requestBytes("POST", "/api/cache", { body: `{"key":"${key}","value":${value}}` });
}

describe("a write that waits to be recorded", () => {
  test("is answered before the next request of its connection is handled", async () => {
    const { api, upstream, client } = await held();
    using _ = api;
    await client.send(Buffer.concat([post("a", "1"), requestBytes("GET", "/api/cache/a"), post("a", "2")]));
    await until("the first write waits", () => upstream.waiting === 1);
    upstream.release();
    expectSuccess(await client.answer());
    expect((await client.answer()).body).toBe('{"key":"a","value":1}');
    expectSuccess(await client.answer());
    expect(upstream.recorded.map(shownMutation)).toEqual(["put a=1", "put a=2"]);
    client.socket.destroy();
  });

  test("keeps its own key and value while the connections' buffers are used again", async () => {
    const { api, upstream, client } = await held();
    using _ = api;
    const others = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(api.port)));
    await client.send(post("first", '"one"'));
    for (const [index, other] of others.entries()) await other.send(post(`other:${index}`, `"${"x".repeat(index)}"`));
    await until("all writes wait", () => upstream.waiting === 21);
    upstream.release();
    expectSuccess(await client.answer());
    for (const other of others) expectSuccess(await other.answer());
    expect((await api.call("GET", "/api/cache/first")).body).toBe('{"key":"first","value":"one"}');
    expect((await api.call("GET", "/api/cache/other:19")).body).toBe(`{"key":"other:19","value":"${"x".repeat(19)}"}`);
    for (const each of [client, ...others]) each.socket.destroy();
  });

  test("may have come in pieces, with its length or chunked", async () => {
    const { api, upstream, client } = await held();
    using _ = api;
    upstream.release();
    const whole = post("pieces", '"abc"');
    await client.send(whole.subarray(0, 20));
    await client.send(whole.subarray(20, whole.length - 5));
    await client.send(whole.subarray(whole.length - 5));
    expectSuccess(await client.answer());
    const body = '{"key":"chunked","value":[1,2]}';
    const head = "POST /api/cache HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    await client.send(`${head}${body.length.toString(16)}\r\n${body.slice(0, 10)}`);
    await client.send(`${body.slice(10)}\r\n0\r\n\r\n`);
    expectSuccess(await client.answer());
    await client.send(
      requestBytes("PUT", "/api/cache/put", { body: "bytes", headers: { "Content-Type": "text/plain" } }),
    );
    expectSuccess(await client.answer());
    expect(upstream.recorded.map(shownMutation)).toEqual(['put pieces="abc"', "put chunked=[1,2]", "put put=bytes"]);
    client.socket.destroy();
  });

  test("that is refused is answered so, and its connection goes on", async () => {
    const { api, upstream, client } = await held();
    using _ = api;
    await client.send(post("a", "1"));
    await until("the write waits", () => upstream.waiting === 1);
    upstream.release(outboxFull());
    const refused = await client.answer();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    await client.send(requestBytes("GET", "/api/cache/a"));
    expect((await client.answer()).status).toBe(404);
    expect(api.bugs).toEqual([]);
    client.socket.destroy();
  });

  test("is done though its client has gone, and harms nobody's answer", async () => {
    const { api, upstream, client } = await held();
    using _ = api;
    await client.send(post("a", "1"));
    await until("the write waits", () => upstream.waiting === 1);
    client.socket.destroy();
    await client.closed;
    const other = api.call("POST", "/api/cache", { body: '{"key":"b","value":2}' });
    await until("the other write waits", () => upstream.waiting === 2);
    upstream.release();
    expectSuccess(await other);
    expect((await api.call("GET", "/api/cache/a")).body).toBe('{"key":"a","value":1}');
    expect(api.bugs).toEqual([]);
  });

  test("closes the connection where its request asked for that", async () => {
    const { api, upstream, client } = await held();
    using _ = api;
    const headers = { Connection: "close" };
    await client.send(requestBytes("POST", "/api/cache", { headers, body: '{"key":"a","value":1}' }));
    await until("the write waits", () => upstream.waiting === 1);
    upstream.release();
    const answer = await client.answer();
    expectSuccess(answer);
    expect(answer.headers.get("connection")).toBe("close");
    expect(await client.rest()).toBe("");
  });
});
