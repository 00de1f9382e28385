/** The door of the peers, as those see it who would do harm: with the token and without one. */

import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import type { Mutation, PutMutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { MOST_BEYOND } from "../../src/replication/incoming-sessions.ts";
import { MESSAGE_TYPE, REPLICATION_PATH } from "../../src/replication/peer-caller.ts";
import { decodeMessage, encodeMessage, type MessageKind, PROTOCOL } from "../../src/replication/wire/message.ts";
import { quietPort } from "../support/free-port.ts";
import { callsOf } from "../support/node-calls.ts";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const TIMEOUT_MS = 300_000;
const TOKEN = "of the peers";

afterEach(endServed);

/** A node with a peer that is never there, and one who speaks to its door. */
async function house(folder: string) {
  const peer = `http://127.0.0.1:${quietPort()}`;
  const flags = ["--addr=127.0.0.1:0", `--data-dir=${folder}`, "--workers=1", `--peers=${peer}`];
  const { port } = await serve(flags, { SERV_CACHE_PEER_TOKEN: TOKEN });
  const post = async (body: Uint8Array, token: string | null = TOKEN) => {
    const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    const headers = { "content-type": MESSAGE_TYPE, ...authorization };
    const answer = await fetch(`http://127.0.0.1:${port}${REPLICATION_PATH}`, { method: "POST", headers, body });
    return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
  };
  return { port, post, calls: callsOf(port) };
}

type House = Awaited<ReturnType<typeof house>>;

/** A sender that keeps to the rules, as far as its test wants it to. */
class Sender {
  #incarnationThere = 0;

  constructor(
    private readonly at: House,
    readonly id: number,
    private readonly incarnation = 1,
  ) {}

  helloMessage(next = 1): Buffer {
    const nowMs = Date.now();
    const signature = { id: this.id, incarnation: this.incarnation, clock: nowMs };
    return encodeMessage("hello", { protocol: PROTOCOL, ...signature, next, stamp: versionAt(nowMs) });
  }

  async hello(next = 1): Promise<this> {
    const { status, body } = await this.at.post(this.helloMessage(next));
    expect(status).toBe(200);
    this.#incarnationThere = decodeMessage(body).head.number("incarnation");
    return this;
  }

  message(number: number, mutations: readonly Mutation[], kind: MessageKind = "batch"): Buffer {
    const signature = { id: this.id, incarnation: this.incarnation, clock: Date.now(), to: this.#incarnationThere };
    return encodeMessage(kind, { ...signature, number, watermark: 0, newest: 0, known: 2 ** 53 - 1 }, mutations);
  }

  put(key: string, text: string, { contentType = JSON_CONTENT_TYPE, ...more }: PutOptions = {}): PutMutation {
    const stamp = { version: versionAt(Date.now()), nodeId: this.id };
    const value = { bytes: Buffer.from(text), contentType };
    return { kind: "put", key, value, expiresAtMs: NEVER, stamp, ...more };
  }
}

type PutOptions = Partial<PutMutation> & { readonly contentType?: string };

const httpHead = (headers: string) =>
  `POST ${REPLICATION_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n${headers}\r\n\r\n`;

/** Sends bytes on a connection of their own, which it closes, and gives what is answered. */
function sendAndClose(port: number, bytes: Buffer, how: "end" | "reset"): Promise<string> {
  return new Promise((resolve) => {
    const heard: Buffer[] = [];
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(bytes, () => (how === "end" ? socket.end() : socket.resetAndDestroy()));
    });
    socket.on("data", (chunk: Buffer) => heard.push(chunk));
    socket.on("error", () => {});
    socket.on("close", () => resolve(Buffer.concat(heard).toString("latin1")));
  });
}

describe("without the token", () => {
  test(
    "nobody changes anything, whatever is sent",
    async () => {
      using folder = tempFolder();
      const at = await house(folder.path);
      await at.calls.put("kept", 1);
      const sender = new Sender(at, 5);
      const messages = [Buffer.alloc(0), Buffer.from("garbage"), sender.helloMessage(), sender.message(1, [])];
      for (const token of [null, "", "wrong", `${TOKEN} `.repeat(1000)]) {
        for (const message of messages) expect((await at.post(message, token)).status).toBe(403);
      }
      for (const [method, path, body] of [
        ["POST", "/api/cache?replicated=true", '{"key":"kept","value":2}'],
        ["DELETE", "/api/cache?pattern=*&replicated=true", ""],
        ["DELETE", "/api/cache?replicated=true", ""],
        ["DELETE", "/api/cache/kept?replicated=true", ""],
        ["PUT", "/api/cache/kept?replicated=true", "2"],
      ] as const) {
        expect([path, (await at.calls.call(method, path, { body })).status]).toEqual([path, 403]);
      }
      expect((await at.calls.get("kept")).text).toContain('"value":1');
      expect((await at.calls.json("/api/stats")).peers.received).toMatchObject({ batches: 0, mutations: 0 });
    },
    TIMEOUT_MS,
  );
});

describe("with the token", () => {
  test(
    "a message that is cut or changed at any byte is refused or understood, and never a fault of the node",
    async () => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const sender = await new Sender(at, 5).hello();
      const stamp = { version: versionAt(Date.now()), nodeId: 5 };
      const mutations: Mutation[] = [
        sender.put("a", "1"),
        sender.put("b", "text", { contentType: "text/plain", expiresAtMs: Date.now() + 60_000 }),
        { kind: "delete", key: "c", stamp },
        { kind: "invalidate", pattern: "nothing:*", stamp },
      ];
      const message = sender.message(1, mutations);
      const seen = new Set<number>();
      for (let length = 0; length < message.length; length++) {
        expect([length, (await at.post(message.subarray(0, length))).status]).toEqual([length, 400]);
      }
      for (let place = 0; place < message.length; place++) {
        for (const change of [0xff, 0x80, 0x55, 0x01]) {
          const changed = Buffer.from(message);
          changed[place] = (changed[place] ?? 0) ^ change;
          const { status } = await at.post(changed);
          expect([place, change, [200, 400, 409].includes(status), status]).toEqual([place, change, true, status]);
          seen.add(status);
        }
      }
      expect([...seen].toSorted()).toEqual([200, 400, 409]);
      const other = await new Sender(at, 6).hello();
      expect((await at.post(other.message(1, [other.put("after", "1")]))).status).toBe(200);
      expect((await at.calls.get("after")).status).toBe(200);
    },
    TIMEOUT_MS,
  );

  test(
    "a put can't write headers, and what can't be is refused with its reason",
    async () => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const sender = await new Sender(at, 5).hello();
      const contentType = "text/html\r\nSet-Cookie: a=b";
      const deep = Buffer.from(`${"[".repeat(200_000)}`);
      const stamp = { version: versionAt(Date.now()), nodeId: 5 };
      const head = Buffer.from([0x53, PROTOCOL, 1, 0]);
      const lengths = (head: number, mutations = 0) => Buffer.from(Uint32Array.of(head, mutations).buffer);
      for (const [what, body] of Object.entries({
        header: sender.message(1, [sender.put("header", "x", { contentType })]),
        "control character in a key": sender.message(1, [sender.put("control\u0000", "1")]),
        "control character beyond ASCII in a key": sender.message(1, [{ kind: "delete", key: "control\u0085", stamp }]),
        "no JSON": sender.message(1, [sender.put("no JSON", "1}, {")]),
        "no UTF-8": sender.message(1, [
          sender.put("no UTF-8", "", {
            value: { bytes: Buffer.from([0x22, 0xff, 0x22]), contentType: JSON_CONTENT_TYPE },
          }),
        ]),
        "deep head": Buffer.concat([head, lengths(deep.length), deep]),
        "long head": Buffer.concat([head, lengths(2 ** 32 - 1), Buffer.alloc(100)]),
        "no head": Buffer.concat([head, Buffer.alloc(7)]),
        "no mutation": Buffer.concat([head, lengths(2, 1), Buffer.from("{}"), Buffer.alloc(32)]),
        "many mutations": Buffer.concat([head, lengths(2, 65_537), Buffer.from("{}")]),
        "no object": Buffer.concat([head, lengths(4), Buffer.from("null")]),
        "an answer": sender.message(1, [], "answer"),
      })) {
        const answer = await at.post(body);
        expect([what, answer.status, String(answer.body)]).toEqual([what, 400, expect.stringContaining('"error"')]);
      }
      for (const key of ["header", "no JSON", "no UTF-8"]) {
        expect([key, (await at.calls.get(key)).status]).toEqual([key, 404]);
      }
      expect((await at.post(sender.message(1, [sender.put("fine", "1")]))).status).toBe(200);
      expect((await at.calls.get("fine")).status).toBe(200);
    },
    TIMEOUT_MS,
  );

  test(
    "what is replayed, or stamped far ahead, changes nothing and keeps nothing out",
    async () => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const sender = await new Sender(at, 5).hello();
      const first = sender.message(1, [sender.put("k", "1"), sender.put("gone", "1")]);
      expect((await at.post(first)).status).toBe(200);
      await until("it is there", async () => (await at.calls.get("k")).status === 200);
      await at.calls.put("k", 2);
      await at.calls.remove("gone");
      const hellos = [sender.helloMessage(), new Sender(at, 5, 0).helloMessage()];
      for (const hello of hellos) {
        expect((await at.post(hello)).status).toBe(200);
        await at.post(first);
        expect((await at.calls.get("k")).text).toContain('"value":2');
        expect((await at.calls.get("gone")).status).toBe(404);
      }
      const ahead = await new Sender(at, 6).hello();
      for (const [number, version] of [versionAt(Date.now() + 86_400_000), 2 ** 53 - 1].entries()) {
        const stamp = { version: toVersion(version), nodeId: 6 };
        const told = [ahead.put("k", "9", { stamp }), ahead.put("new", "9", { stamp })];
        const { status, body } = await at.post(ahead.message(number + 1, told));
        expect([status, decodeMessage(body).head.numbers("refused")]).toEqual([200, [0, 1]]);
        expect((await at.calls.get("new")).status).toBe(404);
        for (const key of ["k", "new"]) {
          await at.calls.put(key, 3);
          expect((await at.calls.get(key)).text).toContain('"value":3');
        }
        await at.calls.remove("new");
      }
    },
    TIMEOUT_MS,
  );

  test.each([PROTOCOL - 1, PROTOCOL + 1])(
    "a message of form %d is refused with one line that says what to do, and nothing of it is done",
    async (form) => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const sender = await new Sender(at, 5).hello();
      for (const message of [sender.helloMessage(), sender.message(1, [sender.put("k", "1")])]) {
        message[1] = form;
        const { status, body } = await at.post(message);
        const error = `the message has protocol version ${form}, this node speaks ${PROTOCOL}: run the same version on both`;
        expect([status, JSON.parse(String(body)).error]).toEqual([400, error]);
      }
      expect((await at.calls.json("/api/stats")).peers.received).toMatchObject({ batches: 0, mutations: 0 });
      expect((await at.calls.get("k")).status).toBe(404);
    },
    TIMEOUT_MS,
  );

  test(
    "a sender that leaves gaps in its numbers is told to say hello, and goes on after it",
    async () => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const sender = await new Sender(at, 5).hello();
      const statuses = new Map<number, number>();
      for (let number = 2; number < 3000; number += 2) {
        const { status } = await at.post(sender.message(number, []));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
      expect(statuses).toEqual(
        new Map([
          [200, MOST_BEYOND],
          [409, 1499 - MOST_BEYOND],
        ]),
      );
      expect((await at.post(sender.message(1, [sender.put("first", "1")]))).status).toBe(200);
      expect((await at.calls.get("first")).status).toBe(200);
      await sender.hello(3001);
      expect((await at.post(sender.message(3001, [sender.put("after", "1")]))).status).toBe(200);
      expect((await at.calls.get("after")).status).toBe(200);
    },
    TIMEOUT_MS,
  );

  test(
    "two senders with one id lose nothing: each is heard after its own hello",
    async () => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const twins = [new Sender(at, 5, 1), new Sender(at, 5, 2)];
      for (let number = 1; number <= 10; number++) {
        for (const [index, twin] of twins.entries()) {
          const mutations = [twin.put(`${index}:${number}`, "1")];
          if (number > 1) expect((await at.post(twin.message(number, mutations))).status).toBe(409);
          await twin.hello();
          expect((await at.post(twin.message(number, mutations))).status).toBe(200);
        }
      }
      const keys = twins.flatMap((_, index) => Array.from({ length: 10 }, (_, at) => `${index}:${at + 1}`));
      expect((await at.calls.values(keys)).size).toBe(20);
    },
    TIMEOUT_MS,
  );

  test.each(["end", "reset"] as const)(
    "a request whose connection ends (%s) after any of its bytes is not carried out",
    async (how) => {
      using folder = tempFolder();
      const at = await house(folder.path);
      const sender = await new Sender(at, 5).hello();
      const message = sender.message(1, [sender.put("k", "1")]);
      const half = message.length >> 1;
      const chunk = (bytes: Buffer) => [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")];
      const sized = Buffer.concat([Buffer.from(httpHead(`Content-Length: ${message.length}`)), message]);
      const chunked = Buffer.concat([
        Buffer.from(httpHead("Transfer-Encoding: chunked")),
        ...[...chunk(message.subarray(0, half)), ...chunk(message.subarray(half)), Buffer.from("0\r\n\r\n")],
      ]);
      for (const whole of [sized, chunked]) {
        for (let length = 0; length < whole.length; length++) {
          const heard = await sendAndClose(at.port, whole.subarray(0, length), how);
          expect([length, /^HTTP\/1.1 (2|5|403)/.test(heard)]).toEqual([length, false]);
        }
      }
      expect((await at.calls.json("/api/stats")).peers.received).toMatchObject({ batches: 0, mutations: 0 });
      expect((await at.calls.get("k")).status).toBe(404);
      expect(await sendAndClose(at.port, sized, "end")).toStartWith("HTTP/1.1 200");
      expect((await at.calls.get("k")).status).toBe(200);
    },
    TIMEOUT_MS,
  );
});
