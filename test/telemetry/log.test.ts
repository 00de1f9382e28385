import { describe, expect, test } from "bun:test";
import { createLog, type LogLevel } from "../../src/telemetry/log.ts";
import { ManualClock } from "../support/engine-io.ts";

function arrange(level: LogLevel = "info", isPretty = false) {
  const clock = new ManualClock();
  clock.nowMs = Date.UTC(2027, 0, 2, 3, 4, 5, 6);
  const lines: string[] = [];
  const log = createLog({ level, isPretty, write: (line) => lines.push(line), nowMs: clock.read });
  return { clock, lines, log, parsed: () => lines.map((line) => JSON.parse(line)) };
}

describe("the log", () => {
  test("is JSON, one line per message, with level, time and fields", () => {
    const { lines, log } = arrange();
    log.warn('it is "so"\nand so', { trace_id: "0af7651916cd43dd8448eb211c80319c", count: 2 });
    expect(lines).toEqual([
      '{"level":"warn","time":"2027-01-02T03:04:05.006Z","trace_id":"0af7651916cd43dd8448eb211c80319c","count":2,"message":"it is \\"so\\"\\nand so"}\n',
    ]);
  });

  test("leaves out what is below its level", () => {
    const { log, parsed } = arrange("warn");
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
    expect(parsed().map(({ message }) => message)).toEqual(["c", "d"]);
    const silent = arrange("silent");
    silent.log.error("e");
    expect(silent.lines).toEqual([]);
  });

  test("says a repeated warning once per period, with its count", () => {
    const { clock, log, parsed } = arrange();
    for (let number = 0; number < 5; number++) log.warn("the database is away", { number });
    log.error("the database is away");
    clock.nowMs += 60_000;
    log.warn("the database is away", { number: 5 });
    log.info("the database is away");
    expect(parsed().map(({ level, number, repeated }) => [level, number, repeated])).toEqual([
      ["warn", 0, undefined],
      ["error", undefined, undefined],
      ["warn", 4, 4],
      ["warn", 5, undefined],
      ["info", undefined, undefined],
    ]);
  });

  test("says what it held back when it is flushed", () => {
    const { log, parsed } = arrange();
    log.error("lost");
    log.error("lost");
    log.flush();
    log.flush();
    expect(parsed().map(({ repeated }) => repeated)).toEqual([undefined, 1]);
  });

  test("remembers a bounded number of warnings", () => {
    const { log, lines } = arrange();
    for (let number = 0; number < 1_500; number++) log.warn(`warning ${number}`);
    for (let number = 0; number < 1_500; number++) log.warn(`warning ${number}`);
    expect(lines.length).toBe(1_500 + 500);
  });

  test("shows no user nor password of a URL", () => {
    const { log, parsed } = arrange();
    log.info("cannot reach postgres://app:secret@db/x nor redis://:pw@cache");
    expect(parsed()[0].message).toBe("cannot reach postgres://…@db/x nor redis://…@cache");
  });

  test("is for people on a terminal", () => {
    const { log, lines } = arrange("info", true);
    log.warn("slow", { ms: 12 });
    expect(Bun.stripANSI(lines.join(""))).toBe("03:04:05.006 WARN  slow ms=12\n");
  });
});
