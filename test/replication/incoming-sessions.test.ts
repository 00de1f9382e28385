import { describe, expect, test } from "bun:test";
import { IncomingSessions, MOST_BEYOND } from "../../src/replication/incoming-sessions.ts";

const answerOf = (text: string) => async () => Buffer.from(text);

describe("the batches of a sender", () => {
  test("are done once: one that comes again gets the first answer, also while that is under way", async () => {
    const session = new IncomingSessions().greet(1, 10, 1);
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    const first = session.once(1, () => promise);
    const again = session.once(1, answerOf("twice"));
    resolve(Buffer.from("once"));
    expect([String(await first), String(await again)]).toEqual(["once", "once"]);
    expect(String(await session.once(1, answerOf("thrice")))).toBe("once");
  });

  test("are acknowledged up to the first one that is missing", async () => {
    const session = new IncomingSessions().greet(1, 10, 1);
    await session.once(1, answerOf(""));
    await session.once(3, answerOf(""));
    expect([session.acknowledged, session.isGapped]).toEqual([1, true]);
    await session.once(2, answerOf(""));
    expect([session.acknowledged, session.isGapped]).toEqual([3, false]);
  });

  test("that failed may come again", async () => {
    const session = new IncomingSessions().greet(1, 10, 1);
    const failing = session.once(1, async () => {
      throw new Error("the engine is away");
    });
    expect(failing).rejects.toThrow("away");
    await failing?.catch(() => {});
    expect(String(await session.once(1, answerOf("done")))).toBe("done");
  });

  test("that the sender has given up are not waited for, and not done when they come late", async () => {
    const sessions = new IncomingSessions();
    const session = sessions.greet(1, 10, 1);
    await session.once(2, answerOf(""));
    expect(sessions.greet(1, 10, 3)).toBe(session);
    expect(session.acknowledged).toBe(2);
    expect(session.once(1, answerOf("late"))).toBeNull();
  });

  test("are remembered beyond a missing one up to a bound, until the sender says what still comes", async () => {
    const sessions = new IncomingSessions();
    const session = sessions.greet(1, 10, 1);
    for (let number = 2; number < MOST_BEYOND + 2; number++) {
      expect(session.isAhead(number)).toBe(false);
      await session.once(number, answerOf(""));
    }
    expect([session.isAhead(MOST_BEYOND + 2), session.isAhead(1)]).toEqual([true, false]);
    sessions.greet(1, 10, 2);
    expect([session.isAhead(MOST_BEYOND + 2), session.acknowledged]).toEqual([false, MOST_BEYOND + 1]);
  });

  test("count from the start when the sender has started anew", async () => {
    const sessions = new IncomingSessions();
    await sessions.greet(1, 10, 1).once(1, answerOf("old"));
    const session = sessions.greet(1, 11, 1);
    expect(String(await session.once(1, answerOf("new")))).toBe("new");
  });
});
