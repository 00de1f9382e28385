import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  isPresent,
  isString,
  JsonObjectScanner,
  type JsonRange,
  readSafeInteger,
} from "../../../src/http/rest/json-scan.ts";
import { isJson, JsonError, MAX_JSON_DEPTH, requireUtf8, skipValue } from "../../../src/model/json-grammar.ts";

const NAMES = ["key", "value", "ttl", "tags", "increment", "op", "operations"] as const;

/** The text with bytes around it that would change its meaning if they were read. */
function framed(text: string | Buffer): { buffer: Buffer; start: number; end: number } {
  const bytes = Buffer.from(text);
  return { buffer: Buffer.concat([Buffer.from('{"['), bytes, Buffer.from('1"]}')]), start: 3, end: 3 + bytes.length };
}

function scan(text: string | Buffer): { scanner: JsonObjectScanner; buffer: Buffer } {
  const { buffer, start, end } = framed(text);
  const scanner = new JsonObjectScanner();
  scanner.scan(buffer, start, end);
  return { scanner, buffer };
}

function rawOf(buffer: Buffer, range: JsonRange): string | null {
  return isPresent(range) ? buffer.toString("utf8", range.start, range.end) : null;
}

function errorOf(text: string | Buffer): JsonError {
  try {
    scan(text);
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
  throw new Error(`${text} was accepted`);
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isJsonText(text: string | Buffer): boolean {
  const { buffer, start, end } = framed(text);
  return isJson(buffer, start, end);
}

function rangeOf(text: string): { buffer: Buffer; range: JsonRange } {
  const { buffer, start, end } = framed(text);
  return { buffer, range: { start, end } };
}

const VALID = [
  "null",
  "true",
  "false",
  "0",
  "-0",
  "-12.50e+3",
  "1E5",
  "0e-1",
  "1e400",
  "12345678901234567890",
  '""',
  '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00Ef"',
  '"\\ud800"',
  '"é 😀 \u2028 \u007f"',
  "[]",
  "{}",
  ' \t\r\n[ 1 , { "a" : [ ] } ] \n',
  '{"":{"a":[[],{}]}}',
];

const INVALID = [
  "",
  " ",
  "nul",
  "nulL",
  "nullx",
  "True",
  "NaN",
  "Infinity",
  "-",
  "-a",
  "+1",
  "01",
  "-01",
  "1.",
  ".5",
  "1.e1",
  "1e",
  "1e+",
  "0x1",
  "1 2",
  '"',
  '"a',
  '"\\"',
  '"\\',
  '"\\x"',
  '"\\u12"',
  '"\\u12g4"',
  '"\n"',
  '"\u0000"',
  "'a'",
  "[",
  "]",
  "[1",
  "[1,",
  "[1,]",
  "[,1]",
  "[1 2]",
  "[1}",
  "{",
  "}",
  "{]",
  '{"a"',
  '{"a":',
  '{"a":1',
  '{"a":1,',
  '{"a":1,}',
  '{"a" 1}',
  '{"a":1 "b":2}',
  '{"a":1]',
  "{a:1}",
  "{1:1}",
  "{,}",
  '[{"a":[}]]',
  "// 1",
  "1 /* */",
  "\u00a0 1",
  "\v1",
  "\ufeff1",
];

test.each(VALID)("%j is JSON", (text) => {
  expect(parses(text)).toBe(true);
  expect(isJsonText(text)).toBe(true);
});

test.each(INVALID)("%j is not JSON", (text) => {
  expect(parses(text)).toBe(false);
  expect(isJsonText(text)).toBe(false);
});

test.each(INVALID)("an object with the value %j is refused", (text) => {
  expect(errorOf(`{"value":${text}${text.includes('"') ? "" : " "}`).code).toBe("ERR_INVALID_JSON");
});

test("random text of the characters of JSON is valid where JSON.parse says so", () => {
  const piece = fc.constantFrom(...'{}[]:,"\\ue-+.019 \n', '"a"', '"":', "true", "null", "1e4", "\\u00", "é");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join("");
      expect(isJsonText(text)).toBe(parses(text));
    }),
    { numRuns: 5_000 },
  );
});

test("random documents are valid, and changed ones are where JSON.parse says so", () => {
  const document = fc.tuple(fc.json({ maxDepth: 6 }), fc.nat({ max: 2 }));
  const change = fc.record({
    at: fc.nat(),
    drop: fc.nat({ max: 2 }),
    put: fc.constantFrom("", ...'{}[]:,"\\01e.- \nx'),
  });
  fc.assert(
    fc.property(document, fc.array(change, { maxLength: 3 }), ([json, indent], changes) => {
      let text = JSON.stringify(JSON.parse(json), null, indent);
      expect(isJsonText(text)).toBe(true);
      for (const { at, drop, put } of changes) {
        const index = at % (text.length + 1);
        text = text.slice(0, index) + put + text.slice(index + drop);
      }
      // A change may cut a surrogate pair in two, which bytes can't hold.
      text = text.toWellFormed();
      expect(isJsonText(text)).toBe(parses(text));
    }),
    { numRuns: 5_000 },
  );
});

test("the raw values of known members are what JSON.parse reads", () => {
  const space = fc.constantFrom("", " ", "\n\t ");
  const name = fc.oneof(
    fc.constantFrom<string>(...NAMES, "__proto__", "constructor", "keys", "ke", "Key"),
    fc.string(),
  );
  const nameText = fc.tuple(name, fc.boolean()).map(([text, escaped]) => {
    if (!escaped) return JSON.stringify(text);
    return `"${[...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")}"`;
  });
  const member = fc.tuple(space, nameText, space, fc.json({ maxDepth: 3 }), space);
  fc.assert(
    fc.property(fc.array(member, { maxLength: 8 }), (members) => {
      const text = `{${members.map(([a, key, b, value, c]) => `${a}${key}${b}:${b}${value}${c}`).join(",")}}`;
      const expected = new Map<string, unknown>(Object.entries(JSON.parse(text)));
      const { scanner, buffer } = scan(text);
      expect(scanner.memberCount).toBe(members.length);
      for (const known of NAMES) {
        const raw = rawOf(buffer, scanner[known]);
        expect(raw === null).toBe(!expected.has(known));
        if (raw === null) continue;
        expect(raw).toBe(raw.trim());
        expect(JSON.parse(raw)).toEqual(expected.get(known));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("values come back as they were sent, without the white space around them", () => {
  const { scanner, buffer } = scan(
    ' { "key" : "a" , "value" : { "b": 1.0, "a" : 12345678901234567890 } , "ttl":null } ',
  );
  expect(rawOf(buffer, scanner.key)).toBe('"a"');
  expect(rawOf(buffer, scanner.value)).toBe('{ "b": 1.0, "a" : 12345678901234567890 }');
  expect(rawOf(buffer, scanner.ttl)).toBe("null");
  expect(rawOf(buffer, scanner.tags)).toBe(null);
  expect([scanner.tags.start, scanner.tags.end]).toEqual([-1, -1]);
  expect(scanner.memberCount).toBe(3);
});

test("names inside of values are not members", () => {
  const { scanner, buffer } = scan('{"value":{"key":1,"ttl":[{"op":2}]},"x":{"tags":[]}}');
  expect(NAMES.map((name) => rawOf(buffer, scanner[name]))).toEqual([
    null,
    '{"key":1,"ttl":[{"op":2}]}',
    null,
    null,
    null,
    null,
    null,
  ]);
});

test("of members with the same name the last counts, however the name is written", () => {
  const { scanner, buffer } = scan('{"key":1,"\\u006bey":2,"value":1,"v\\u0061lue":3,"value":4}');
  expect(rawOf(buffer, scanner.key)).toBe("2");
  expect(rawOf(buffer, scanner.value)).toBe("4");
  expect(scanner.memberCount).toBe(5);
});

test("a scan forgets what the scan before it found", () => {
  const scanner = new JsonObjectScanner();
  const first = Buffer.from('{"key":"a","value":1}');
  const second = Buffer.from('{"op":"get"}');
  scanner.scan(first, 0, first.length);
  scanner.scan(second, 0, second.length);
  expect(scanner.memberCount).toBe(1);
  expect(isPresent(scanner.key)).toBe(false);
  expect(rawOf(second, scanner.op)).toBe('"get"');
});

test.each([" []", '"a"', "1", "null", "", "  ", "x"])("%j is refused as no JSON object", (text) => {
  expect(errorOf(text).message).toBe("body must be a JSON object");
});

test("a byte order mark is refused by name", () => {
  expect(errorOf("\ufeff{}").message).toBe("body must be JSON without a byte order mark");
});

test.each([
  ['{"a" 1}', 5, "body must be valid JSON: expected ':' at byte 5"],
  ['{"a":1,}', 7, "body must be valid JSON: expected a member name in double quotes at byte 7"],
  ['{"a":01}', 6, "body must be valid JSON: expected ',' or '}' at byte 6"],
  ['{"a":[1 2]}', 8, "body must be valid JSON: expected ',' or ']' at byte 8"],
  ['{"a":tru}', 5, "body must be valid JSON: expected a value at byte 5"],
  ['{"a":-}', 6, "body must be valid JSON: expected a digit at byte 6"],
  ['{"a":1.}', 7, "body must be valid JSON: expected a digit at byte 7"],
  ['{"a":"b', 7, "body must be valid JSON: expected the double quote that ends the string at byte 7"],
  ['{"a":"\\x"}', 7, 'body must be valid JSON: expected one of "\\/bfnrtu after the backslash at byte 7'],
  ['{"a":"\\u00g0"}', 10, "body must be valid JSON: expected four hexadecimal digits after \\u at byte 10"],
  ["{} {}", 3, "body must be valid JSON: expected nothing after the object at byte 3"],
])("%j is refused at byte %d of the text", (text, offset, message) => {
  const error = errorOf(text);
  expect(error.offset).toBe(offset);
  expect(error.message).toBe(message);
});

test.each([10, 2_000])("bytes that are not UTF-8 are refused, in a text of %d bytes and more", (length) => {
  const text = Buffer.concat([Buffer.from(`{"a":"${"x".repeat(length)}`), Buffer.from([0xc3]), Buffer.from('"}')]);
  expect(errorOf(text).message).toBe("body must be JSON in UTF-8: it has bytes that are not");
  expect(isJsonText(text)).toBe(false);
  expect(() => requireUtf8(text, 0, text.length)).toThrow(JsonError);
  requireUtf8(text, 0, length);
});

test("arrays, objects and both in turn may be nested 100,000 deep", () => {
  const depth = 100_000;
  expect(isJsonText("[".repeat(depth) + "]".repeat(depth))).toBe(true);
  expect(isJsonText(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`)).toBe(true);
  expect(isJsonText(`${'[{"a":'.repeat(depth / 2)}1${"}]".repeat(depth / 2)}`)).toBe(true);
  expect(isJsonText("[".repeat(depth))).toBe(false);
});

test("a bracket of the wrong kind is seen at every depth", () => {
  for (const depth of [1, 31, 32, 33, 63, 64, 65, 100]) {
    for (let wrong = 0; wrong < depth; wrong++) {
      const open = Array.from({ length: depth }, (_, level) => (level % 3 === 0 ? '{"a":' : "["));
      const close = Array.from({ length: depth }, (_, level) => (level % 3 === 0 ? "}" : "]")).reverse();
      expect(isJsonText(`${open.join("")}1${close.join("")}`)).toBe(true);
      close[wrong] = close[wrong] === "}" ? "]" : "}";
      expect(isJsonText(`${open.join("")}1${close.join("")}`)).toBe(false);
    }
  }
});

test("nesting beyond the limit is refused", () => {
  const text = Buffer.from("[".repeat(MAX_JSON_DEPTH + 1));
  expect(() => skipValue(text, 0, text.length)).toThrow("at most 1000000 nested");
});

test("skipValue stops after the value, whatever follows", () => {
  for (const value of ["1", "-0.5e1", "true", '"a\\""', "[1,[2]]", '{"a":{}}']) {
    const text = Buffer.from(`  ${value} x`);
    expect(skipValue(text, 2, text.length)).toBe(2 + value.length);
    expect(skipValue(text, 2, 2 + value.length)).toBe(2 + value.length);
  }
});

test.each([
  ["0", 0],
  ["-0", 0],
  ["7", 7],
  ["-15", -15],
  ["9007199254740991", 9007199254740991],
  ["-9007199254740991", -9007199254740991],
  ["9007199254740992", null],
  ["-9007199254740992", null],
  ["9007199254740993", null],
  ["123456789012345678901234567890", null],
  ["1.0", null],
  ["1e3", null],
  ["-", null],
  ['"1"', null],
  ["null", null],
  ["[1]", null],
])("the safe integer in %j is %j", (text, expected) => {
  const { buffer, range } = rangeOf(text);
  expect(readSafeInteger(buffer, range)).toBe(expected);
});

test("an absent range is no value of any kind", () => {
  const { scanner, buffer } = scan("{}");
  expect(readSafeInteger(buffer, scanner.increment)).toBe(null);
  expect(isString(buffer, scanner.value)).toBe(false);
});

test.each([
  ["null", false],
  ['"a"', true],
  ["[]", false],
  ["{}", false],
])("%j is a string: %j", (text, expected) => {
  const { buffer, range } = rangeOf(text);
  expect(isString(buffer, range)).toBe(expected);
});
