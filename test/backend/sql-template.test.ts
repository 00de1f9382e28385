import { describe, expect, test } from "bun:test";
import { BackendConfigError } from "../../src/backend/backend.ts";
import { parseTemplate } from "../../src/backend/sql/sql-template.ts";

const parameters = (text: string, dialect: "postgres" | "mysql" | "sqlite" = "postgres") =>
  parseTemplate(text, { variable: "SERV_CACHE_BACKEND_WRITE_SQL", dialect, allowed: ["key", "value", "version"] });

const parse = (text: string, dialect: "postgres" | "mysql" | "sqlite" = "postgres") => {
  const template = parameters(text, dialect);
  return { text: template.text, placeholders: template.parameters.map(({ what }) => what) };
};

describe("the user's own SQL", () => {
  test("each placeholder becomes a parameter of the dialect, in order", () => {
    expect(parse("UPDATE t SET v=:value, n = :version WHERE id=:2 AND k=:key")).toEqual({
      text: "UPDATE t SET v=$1, n = $2 WHERE id=$3 AND k=$4",
      placeholders: ["value", "version", { part: 2 }, "key"],
    });
    expect(parse("SELECT :key, :key, :10", "mysql").text).toBe("SELECT ?, ?, ?");
    expect(parse("SELECT (:key)", "sqlite").text).toBe("SELECT (?)");
  });

  const leftAlone: [string, "postgres" | "mysql" | "sqlite"][] = [
    ["SELECT ':key' , 'it''s :key'", "postgres"],
    ["SELECT E'\\':key'", "postgres"],
    ["SELECT $$ :key $$, $a$ $$ :key $a$", "postgres"],
    ['SELECT ":key"', "postgres"],
    ["SELECT 1 -- :key", "postgres"],
    ["SELECT 1 /* :key */", "postgres"],
    ["SELECT 1::text, a[1:2], a[i:j]", "postgres"],
    ["SELECT '\\':key'", "mysql"],
    ["SELECT `:key` # :key", "mysql"],
    ["SELECT @a := 1", "mysql"],
    ["SELECT [:key]", "sqlite"],
    ["SELECT '10:30:00', 'never closed :key", "sqlite"],
  ];
  for (const [text, dialect] of leftAlone) {
    test(`is left alone in ${dialect}: ${text}`, () => {
      expect(parse(text, dialect)).toEqual({ text, placeholders: [] });
    });
  }

  test("a cast after a placeholder stays a cast", () => {
    expect(parse("SELECT :1::int").text).toBe("SELECT $1::int");
  });

  test("one semicolon at the end is dropped", () => {
    expect(parse(" SELECT :key ; ").text.trim()).toBe("SELECT $1");
  });

  test("an unknown placeholder is named, with those that are known", () => {
    expect(() => parse("SELECT :ttl")).toThrow(BackendConfigError);
    expect(() => parse("SELECT :ttl")).toThrow(
      "SERV_CACHE_BACKEND_WRITE_SQL: placeholder :ttl is not known here; use :key",
    );
  });

  test("a parameter of the dialect's own is refused", () => {
    expect(() => parse("SELECT $1")).toThrow("nothing is bound to");
    expect(() => parse("SELECT ?", "mysql")).toThrow("nothing is bound to");
    expect(() => parse("SELECT @a", "sqlite")).toThrow("nothing is bound to");
  });

  test("PostgreSQL's ? operator is no parameter", () => {
    expect(parse("SELECT data ? :key").text).toBe("SELECT data ? $1");
  });

  test("an empty text is refused", () => {
    expect(() => parse("  ; ")).toThrow("is empty");
  });

  const compared: [string, string | null][] = [
    ["SELECT 1 FROM t WHERE id = :2", "id"],
    ["SELECT 1 FROM t AS x WHERE x.`my id`=:2", "my id"],
    ["SELECT 1 FROM t WHERE :2 = x.id", "id"],
    ["SELECT 1 FROM t WHERE id IN (:2)", "id"],
    ["SELECT 1 FROM t WHERE id >= :2", "id"],
    ["SELECT 1 FROM t WHERE CONCAT(id, '') = :2", null],
    ["SELECT 1, :2", null],
  ];
  for (const [text, column] of compared) {
    test(`tells the column that a parameter is compared with: ${text}`, () => {
      expect(parameters(text, "mysql").parameters.map((parameter) => parameter.column)).toEqual([column]);
    });
  }

  test("tells what a parameter is cast to", () => {
    const casts = ["CAST(:2 AS SIGNED)", "cast( :2 as decimal(10,2))", "CAST(1 AS INT) + :2"];
    const castTo = casts.map((text) => parameters(`SELECT ${text}`, "mysql").parameters[0]?.castTo);
    expect(castTo).toEqual(["signed", "decimal", ""]);
  });
});
