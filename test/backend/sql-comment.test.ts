import { describe, expect, test } from "bun:test";
import { commentOf, withComment } from "../../src/backend/sql/sql-comment.ts";

const SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("comments in SQL", () => {
  test("carry the context of what is sampled", () => {
    expect(commentOf(SAMPLED)).toBe(`/*traceparent='${SAMPLED}'*/`);
    expect(commentOf(`${SAMPLED}\nvendor=a,b=c\nbaggage=secret`)).toBe(
      `/*traceparent='${SAMPLED}',tracestate='vendor%3Da%2Cb%3Dc'*/`,
    );
  });

  test("are left out where nothing is sampled", () => {
    for (const carrier of [undefined, "", "nonsense", SAMPLED.replace(/01$/, "00")])
      expect(commentOf(carrier)).toBe("");
    expect(withComment("SELECT 1;", "")).toBe("SELECT 1;");
  });

  test("can't be ended by what they carry", () => {
    expect(commentOf(`${SAMPLED}\n*/; DROP TABLE x; --'`)).toBe(
      `/*traceparent='${SAMPLED}',tracestate='%2A%2F%3B%20DROP%20TABLE%20x%3B%20--%27'*/`,
    );
  });

  test("stand behind the statement, before its semicolon", () => {
    expect(withComment("SELECT 1 -- one\n; ", "/*c*/")).toBe("SELECT 1 -- one\n\n/*c*/");
    expect(withComment("SELECT 1", "/*c*/")).toBe("SELECT 1\n/*c*/");
  });
});
