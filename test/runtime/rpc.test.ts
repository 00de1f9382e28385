import { beforeEach, describe, expect, test } from "bun:test";
import { answerCall, type CallAnswer, CallClient, type CallRequest } from "../../src/runtime/rpc.ts";

/** What the other thread has. */
class Library {
  readonly lent: string[] = [];

  title(id: number): string {
    return `book ${id}`;
  }

  async page(book: { readonly text: Buffer }, at: number): Promise<{ readonly text: Buffer; readonly at: number }> {
    return { text: book.text.subarray(at, at + 2), at };
  }

  lend(name: string): void {
    this.lent.push(name);
  }

  lose(): never {
    throw new RangeError("no such book");
  }

  close(): void {
    this.lent.length = 0;
  }
}

const CALLS = ["title", "page", "lend", "lose"] as const;

let library: Library;
let sent: CallRequest[];
let client: CallClient<Library, string>;

beforeEach(() => {
  library = new Library();
  sent = [];
  client = new CallClient<Library, string>(
    (request) => sent.push(request),
    (failure) => new Error(`over there: ${failure}`),
  );
});

/** Carries what was sent over to the other thread, which answers in the order given. */
async function answered(order: (requests: CallRequest[]) => CallRequest[] = (requests) => requests): Promise<void> {
  for (const request of order(sent.splice(0))) {
    const answer = await answerCall(library, CALLS, structuredClone(request), (error) => String(error));
    client.receive([structuredClone(answer)]);
  }
}

describe("a call of another thread's method", () => {
  test("gives what the method gives, whatever the order of the answers", async () => {
    const remote = client.remote(CALLS);
    const titles = Promise.all([remote.title(1), remote.title(2), remote.title(3)]);
    await answered((requests) => requests.reverse());
    expect(await titles).toEqual(["book 1", "book 2", "book 3"]);
    const lent = remote.lend("Ada");
    await answered();
    expect(await lent).toBeUndefined();
    expect(library.lent).toEqual(["Ada"]);
  });

  test("rejects with the failure of the method", async () => {
    const lost = client.remote(CALLS).lose();
    await answered();
    await expect(lost).rejects.toThrow("over there: RangeError: no such book");
  });

  test("reaches no method that is not in the table", async () => {
    for (const name of ["close", "constructor", "toString"]) {
      const answer = await answerCall(library, CALLS, { id: 1, name, args: [] }, (error) => String(error));
      expect(answer).toEqual({ id: 1, failure: `TypeError: no thread may call ${name}: it is in no table` });
    }
  });

  test("takes bytes as they are when it is made, without the memory around them, and gives buffers", async () => {
    const memory = Buffer.alloc(1024, "x");
    const shelf = memory.subarray(100, 104);
    shelf.write("abcd");
    const asked = client.remote(CALLS).page({ text: shelf }, 1);
    memory.fill("?");
    const [request] = sent;
    const [book] = request?.args ?? [];
    expect(book).toEqual({ text: Buffer.from("abcd") });
    const answer: CallAnswer<string> | undefined =
      request && (await answerCall(library, CALLS, structuredClone(request), (error) => String(error)));
    if (answer === undefined || !("value" in answer)) throw new Error("the call failed");
    expect(answer.value).toEqual({ text: Buffer.from("bc"), at: 1 });
    expect(Object.values(answer.value as object)[0].buffer.byteLength).toBe(2);
    client.receive([structuredClone(answer)]);
    const { text } = await asked;
    expect(Buffer.isBuffer(text)).toBe(true);
    expect(text.toString()).toBe("bc");
  });

  test("ignores an answer to a call that it does not know", () => {
    client.receive([
      { id: 7, value: 1 },
      { id: 8, failure: "gone" },
    ]);
    expect(sent).toEqual([]);
  });
});
