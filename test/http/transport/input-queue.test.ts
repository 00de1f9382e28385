import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { InputQueue } from "../../../src/http/transport/input-queue.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";

const textOf = ({ bytes, start, end }: InputQueue) => bytes.latin1Slice(start, end);

test("a packet before which nothing waits is taken without a copy; what is handled is never written over", () => {
  const queue = new InputQueue();
  const first = Buffer.from("first");
  queue.add(first);
  expect(queue.bytes).toBe(first);
  queue.start = 2;
  const view = queue.bytes.subarray(0, 2);
  queue.add(Buffer.from("second"));
  expect([textOf(queue), view.toString(), first.toString()]).toEqual(["rstsecond", "fi", "first"]);
});

test("whatever comes and is handled, what waits is what came and was not handled, and handled bytes stay", () => {
  const step = fc.record({ add: fc.string({ maxLength: 600 }), handle: fc.nat(700), shrinks: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const queue = new InputQueue();
      const handled: (readonly [Buffer, string])[] = [];
      let waits = "";
      for (const { add, handle, shrinks } of steps) {
        const text = add.replace(/[^\x20-\x7e]/g, "x");
        queue.add(Buffer.from(text, "latin1"));
        waits += text;
        const done = Math.min(handle, waits.length);
        handled.push([queue.bytes.subarray(queue.start, queue.start + done), waits.slice(0, done)]);
        queue.start += done;
        waits = waits.slice(done);
        if (shrinks) queue.shrink();
        expect([textOf(queue), queue.length]).toEqual([waits, waits.length]);
      }
      for (const [bytes, text] of handled) expect(bytes.toString("latin1")).toBe(text);
    }),
  );
});

test("of a large packet of which little is left, only that is kept", () => {
  const queue = new InputQueue();
  queue.add(Buffer.alloc(100_000, "x"));
  queue.start = 90_000;
  queue.shrink();
  expect([queue.bytes.length, queue.length]).toEqual([10_000, 10_000]);
  queue.clear();
  queue.add(Buffer.alloc(100_000, "x"));
  queue.start = 50_000;
  queue.shrink();
  expect(queue.bytes.length).toBe(100_000);
});

describe("before a request", () => {
  test.each([
    ["\r\n\r\nGET", "GET", false],
    ["\r\n\r", "\r", true],
    ["\r", "\r", true],
    ["\n", "\n", false],
    ["\r\rx", "\r\rx", false],
    ["", "", false],
  ])("of %j, %j is left when empty lines are passed over; half an empty line: %p", (text, left, isHalf) => {
    const queue = new InputQueue();
    queue.add(Buffer.from(text));
    queue.skipEmptyLines();
    expect([textOf(queue), queue.isHalfEmptyLine]).toEqual([left, isHalf]);
  });
});

describe("a head that came in pieces is looked at again", () => {
  const LIMITS = { ...DEFAULT_HTTP_LIMITS, targetBytes: 100, headBytes: 400 };

  /** For each piece, whether the parser is to be asked. */
  function asked(...pieces: string[]): boolean[] {
    const queue = new InputQueue();
    return pieces.map((piece) => {
      queue.add(Buffer.from(piece));
      return queue.mayHoldHead(LIMITS);
    });
  }

  test("when a line has ended, and not for each byte", () => {
    expect(asked("GET / H", "TTP/1.1\r", "\nHost: ", "h", "\r\n")).toEqual([false, false, true, false, true]);
  });

  test("once when it is longer than any request line, and always when it is longer than any head", () => {
    expect(asked("x".repeat(164), "x", "x", "x".repeat(234), "x", "x")).toEqual([
      false,
      true,
      false,
      false,
      true,
      true,
    ]);
  });
});
