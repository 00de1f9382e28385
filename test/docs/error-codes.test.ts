import { expect, test } from "bun:test";
import { join } from "node:path";
import { ERROR_STATUS } from "../../src/http/transport/error-codes.ts";

const root = join(import.meta.dir, "..", "..");

/** Codes that are told on standard error, in logs or between parts, and never in an answer. */
const NEVER_ANSWERED = [
  ...["ERR_CONFIG", "ERR_NODE", "ERR_MEMORY_LIMIT", "ERR_DATA_DIR_IN_USE", "ERR_BACKEND_CONFIG"],
  "ERR_ENGINE_BROKEN",
  ...["ERR_OUTBOX_OPEN", "ERR_PEER_CALL", "ERR_REDIS_NOT_CONNECTED", "ERR_REDIS_TIMEOUT", "ERR_RESPONSE_TOO_LARGE"],
];
const OF_THE_RUNTIME = /^ERR_(MYSQL|POSTGRES|SQLITE|TLS)_/;

/** By code: the files of `src/` that name it, but the table itself. */
async function namedCodes(): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for await (const path of new Bun.Glob("src/**/*.ts").scan({ cwd: root })) {
    if (path === "src/http/transport/error-codes.ts") continue;
    const text = await Bun.file(join(root, path)).text();
    for (const [code] of text.matchAll(/ERR_[A-Z][A-Z_]+/g)) found.set(code, [...(found.get(code) ?? []), path]);
  }
  return found;
}

test("the guide's table has every code that an answer may carry, with its status, and no other", async () => {
  const guide = await Bun.file(join(root, "docs/guide/api.md")).text();
  const table = guide.slice(guide.indexOf("## Error codes"));
  const rows = [...table.matchAll(/^\| (\d{3}) +\| `(ERR_[A-Z_]+)` +\| (.+?) *\|$/gm)];
  expect(rows.map(([, status, code]) => [code, Number(status)]).sort()).toEqual(Object.entries(ERROR_STATUS).sort());
  for (const [, , , meaning = ""] of rows) expect(meaning.length).toBeGreaterThan(10);
});

test("every code that the source names is in the table, or never reaches an answer", async () => {
  const known = new Set([...Object.keys(ERROR_STATUS), ...NEVER_ANSWERED]);
  const unknown = [...(await namedCodes())].filter(([code]) => !known.has(code) && !OF_THE_RUNTIME.test(code));
  expect(unknown).toEqual([]);
});

test("every code of the table is given somewhere", async () => {
  const named = await namedCodes();
  expect([...Object.keys(ERROR_STATUS), ...NEVER_ANSWERED].filter((code) => !named.has(code))).toEqual([]);
});

test("the guide names no code that is not in the table", async () => {
  const known = new Set([...Object.keys(ERROR_STATUS), ...NEVER_ANSWERED]);
  for await (const path of new Bun.Glob("docs/guide/*.md").scan({ cwd: root })) {
    const text = await Bun.file(join(root, path)).text();
    const unknown = [...text.matchAll(/ERR_[A-Z_]+/g)].map(([code]) => code).filter((code) => !known.has(code));
    expect([path, unknown]).toEqual([path, []]);
  }
});
