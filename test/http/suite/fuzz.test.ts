import { expect, test } from "bun:test";
import fc from "fast-check";
import { type CallOptions, startTestApi, WAYS_TO_ANSWER } from "../../support/api.ts";

const PATHS = [
  "/api/cache",
  "/api/cache/",
  "/api/v1/cache/",
  "/api/batch",
  "/api/keys",
  "/api/stats",
  "/metrics",
  "/health",
];
const PARAMETERS = ["pattern", "cursor", "limit", "ttl", "raw", "tag", "replicated", "__proto__"];
const WORDS = [
  "k",
  "k*",
  "[",
  "\\",
  "%",
  "%00",
  "%41",
  "%C3%A4",
  "%ff",
  "..",
  "/",
  "1",
  "10000",
  "5s",
  "-5s",
  "0",
  "+",
  "=",
];
const TEXTS = [
  ...['{"key":"k","value":1}', '{"key":"k","value":[1.0],"ttl":"5s"}', '{"increment":1}', '{"ttl":"1m"}', '{"ttl":0}'],
  ...['{"operations":[{"op":"get","key":"k"},{"op":"set","key":"k","value":"x"},{"op":"delete","key":"k"}]}'],
  ...["", "null", "[", '"\\ud800"', '{"key":"\\u0000","value":null}', '{"operations":[null,1,{}]}'],
];
const TAGS = ['"1.1"', "*", "W/", '"a"', ",", '"', "abc", '"1.1-raw"', " "];

const word = fc.constantFrom(...WORDS);
/** All that a target may hold: a `#` closes the connection. */
const visible = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => (code === 0x23 ? "%23" : String.fromCharCode(code))),
});
const query = fc.array(
  fc.tuple(fc.constantFrom(...PARAMETERS), fc.oneof(word, visible)).map((pair) => pair.join("=")),
  { maxLength: 3 },
);
const target = fc
  .tuple(fc.constantFrom(...PATHS), fc.array(fc.oneof(word, visible), { maxLength: 3 }), query)
  .map(([path, key, parameters]) => `${path}${key.join("")}${parameters.length > 0 ? `?${parameters.join("&")}` : ""}`);
const tags = fc.array(fc.constantFrom(...TAGS), { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));
const headers = fc.record(
  {
    "Content-Type": fc.constantFrom("application/json", "application/json;charset=x", "text/plain", ";", "", "ä"),
    "If-Match": tags,
    "If-None-Match": tags,
    traceparent: fc.constantFrom("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-", "x"),
  },
  { requiredKeys: [] },
);
/** JSON that means something, with some of its bytes replaced. */
const body = fc
  .tuple(
    fc.constantFrom(...TEXTS),
    fc.array(fc.tuple(fc.nat(60), fc.oneof(fc.nat(255), fc.constantFrom(0x22, 0x5c, 0x7b, 0x5d))), { maxLength: 2 }),
  )
  .map(([text, changes]) => {
    const bytes = Buffer.from(text);
    for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
    return bytes;
  });
const options: fc.Arbitrary<CallOptions> = fc.record({ headers, body });
const method = fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "__proto__");

test.each(WAYS_TO_ANSWER)(
  "whatever is asked gets an answer that says what is wrong: engine answers %s",
  async (_, engine) => {
    using api = await startTestApi({ engine, defaultTtlMs: 60_000 });
    await fc.assert(
      fc.asyncProperty(method, target, options, async (verb, path, request) => {
        const answer = await api.call(verb, path, request);
        expect(api.bugs).toEqual([]);
        expect([200, 204, 304, 400, 404, 405, 409, 412, 413]).toContain(answer.status);
        if (answer.status < 400 || verb === "HEAD") return;
        expect(JSON.parse(answer.body)).toEqual({
          error: expect.any(String),
          code: expect.stringMatching(/^ERR_[A-Z_]+$/),
          trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
        });
      }),
      { numRuns: 3_000, seed: 20_240_103 },
    );
  },
  300_000,
);
