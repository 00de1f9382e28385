import type { Key } from "../../model/key.ts";
import { EngineRefusedError, type LateReader } from "../engine.ts";
import type { RedisClient } from "./client.ts";
import { mayRetry, NO_STRING_MESSAGE, problemOf } from "./errors.ts";
import { ReadBatch } from "./read-batch.ts";
import { NO_STRING, READ_TOGETHER, TOO_LONG } from "./scripts.ts";

/** How long reads of later turns wait for the replies to the current batch, and then go out together, in ms. */
const HOLD_MS = 1;

/**
 * The most entries of one batch, and the bytes of values that it should bring, so that no read waits long for the
 * values of others.
 */
const MAX_ENTRIES = 256;
const WANTED_BYTES = 256 * 1024;

export interface BatchedReadsOptions {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly clock: () => number;
  /** Passes the stored bytes to the reader; null = no entry. */
  readonly onRead: (reader: LateReader, stored: Buffer | null, pttlMs: number, sentAtMs: number) => void;
  /** Reads one entry by itself: a long one, or any entry while the server rejects batches or has just come back. */
  readonly readAlone: (key: Key, reader: LateReader) => void;
}

interface Waiting {
  key: Key;
  reader: LateReader;
}

/** Bytes before each value in a reply: time to live and length. */
const REPLY_HEAD_BYTES = 12;
const NO_ENTRY = -2;

/**
 * Reads all entries that are requested in one turn of the event loop with one command. Per entry that costs a fraction
 * of a command with a promise.
 *
 * Only for a single server: in a cluster, the keys of a turn lie on many slots.
 */
export class BatchedReads {
  readonly #options: BatchedReadsOptions;
  readonly #batch: ReadBatch;
  #waiting: Waiting[] = [];
  /** Lists for reuse. */
  readonly #spare: Waiting[][] = [];
  #maxEntries = MAX_ENTRIES;
  #isScheduled = false;
  /** Batches without a reply yet, and when the last was sent. */
  #underWay = 0;
  #sentAtMs = 0;
  /** Whether the server forbids scripts to this user. */
  #isRefused = false;

  constructor(options: BatchedReadsOptions) {
    this.#options = options;
    this.#batch = new ReadBatch(Buffer.from(options.prefix));
  }

  /** False = no single server is connected. */
  add(key: Key, reader: LateReader): boolean {
    if (this.#isRefused || !this.#options.client.takesEncoded) return false;
    this.#batch.add(key);
    this.#waiting.push({ key, reader });
    if (this.#batch.count >= this.#maxEntries) this.#send();
    else this.#schedule();
    return true;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#sendRest);
  }

  readonly #sendRest = (): void => {
    this.#isScheduled = false;
    const isHeld = this.#underWay > 0 && performance.now() - this.#sentAtMs < HOLD_MS;
    if (this.#batch.count > 0 && !isHeld) this.#send();
  };

  #send(): void {
    const waiting = this.#waiting;
    this.#waiting = this.#spare.pop() ?? [];
    const command = this.#batch.command();
    this.#batch.clear();
    this.#underWay++;
    this.#sentAtMs = performance.now();
    void this.#read(waiting, this.#options.client.sendEncoded(command));
  }

  async #read(waiting: Waiting[], reply: Promise<unknown>): Promise<void> {
    const sentAtMs = this.#options.clock();
    try {
      this.#deliver(waiting, await reply, sentAtMs);
    } catch (error) {
      this.#fail(waiting, error);
    }
    this.#underWay--;
    if (this.#batch.count > 0) this.#schedule();
    waiting.length = 0;
    if (this.#spare.length < 8) this.#spare.push(waiting);
  }

  #deliver(waiting: readonly Waiting[], reply: unknown, sentAtMs: number): void {
    if (!Buffer.isBuffer(reply)) throw new TypeError("Redis sent an unexpected reply to a script that reads");
    let offset = 0;
    for (const { key, reader } of waiting) {
      try {
        const pttlMs = reply.readDoubleLE(offset);
        const length = reply.readUInt32LE(offset + 8);
        offset += REPLY_HEAD_BYTES;
        if (length === TOO_LONG) {
          this.#options.readAlone(key, reader);
          continue;
        }
        if (length === NO_STRING) throw new EngineRefusedError("ERR_WRONG_TYPE", NO_STRING_MESSAGE);
        if (offset + length > reply.length) throw new TypeError("Redis cut its reply to a script that reads");
        const stored = pttlMs === NO_ENTRY ? null : reply.subarray(offset, offset + length);
        offset += length;
        this.#options.onRead(reader, stored, pttlMs, sentAtMs);
      } catch (error) {
        reader.failed(error);
      }
    }
    const fitting = Math.floor((WANTED_BYTES * waiting.length) / (reply.length + 1));
    this.#maxEntries = Math.max(1, Math.min(MAX_ENTRIES, fitting));
  }

  #fail(waiting: readonly Waiting[], error: unknown): void {
    const isRefused =
      error instanceof Error && error.name === "ReplyError" && /^(NOSCRIPT|NOPERM|ERR)/.test(problemOf(error));
    for (const { key, reader } of waiting) {
      if (isRefused || mayRetry(error, true)) this.#options.readAlone(key, reader);
      else reader.failed(error);
    }
    if (!isRefused) return;
    this.#isRefused = true;
    if (problemOf(error).startsWith("NOSCRIPT")) this.#teach();
  }

  /** Loads the script into the server; batches continue after that. */
  #teach(): void {
    this.#options.client.send("script", ["load", READ_TOGETHER.source]).then(
      () => {
        this.#isRefused = false;
      },
      (error: unknown) => {
        this.#isRefused = problemOf(error).startsWith("NOPERM");
      },
    );
  }
}
