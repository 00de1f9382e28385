/** Clients that write, read and delete at random, and record what they were told. */

import type { History, Operation } from "../support/history.ts";
import type { RawAnswer } from "../support/raw-client.ts";
import { NoAnswerError, SoakClient } from "./client.ts";
import { noteRead, pathOf } from "./read-all.ts";

export interface WorkloadOptions {
  readonly history: History;
  readonly random: () => number;
  readonly node: string;
  readonly port: number;
  readonly clients: number;
  readonly writes: readonly string[];
  readonly reads: readonly string[];
  /** Keys that a delete by pattern may remove, by their common beginning. */
  readonly groups: readonly string[];
  /** See `World`. */
  readonly patternsMayMiss: boolean;
}

export interface Workload {
  /** Answers that no fault explains: a 500, a 4xx, a value that isn't a number. */
  readonly oddities: readonly string[];
  /** Answers by status, 0 = none came. */
  readonly answers: ReadonlyMap<number, number>;
  stop(): Promise<void>;
}

/** Codes of answers that promise that nothing was changed, now or later. */
const REFUSALS: ReadonlySet<string> = new Set(["ERR_OUTBOX_FULL", "ERR_NOT_READY", "ERR_TOO_MANY_REQUESTS"]);

/** Nobody listens, or the last answer was of an outage: how long a client waits before it asks again, in ms. */
const RECONNECT_MS = 20;
const OUTAGE_MS = 3;

const PUT_SHARE = 0.35;
const DELETE_SHARE = 0.08;
const TOUCH_SHARE = 0.05;
const PATTERN_SHARE = 0.004;

export function startWorkload(options: WorkloadOptions): Workload {
  const load = new RunningWorkload(options);
  load.start();
  return load;
}

class RunningWorkload implements Workload {
  readonly oddities: string[] = [];
  readonly answers = new Map<number, number>();
  readonly #options: WorkloadOptions;
  #isStopping = false;
  #sawOutage = false;
  #over: Promise<unknown> = Promise.resolve();

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  start(): void {
    const { clients, node, port } = this.#options;
    const all = Array.from({ length: clients }, (_, at) => this.#run(`${node}/${at}`, new SoakClient(port)));
    this.#over = Promise.all(all);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#over;
  }

  async #run(name: string, client: SoakClient): Promise<void> {
    while (!this.#isStopping) {
      if (!(await client.connect())) {
        await Bun.sleep(RECONNECT_MS);
        continue;
      }
      try {
        await this.#step(name, client);
      } catch (error) {
        if (!(error instanceof NoAnswerError)) throw error;
        this.#count(0);
      }
    }
    client.close();
  }

  async #step(name: string, client: SoakClient): Promise<void> {
    if (this.#sawOutage) await Bun.sleep(OUTAGE_MS);
    this.#sawOutage = false;
    const { random, writes, reads, groups } = this.#options;
    const dice = random();
    if (dice < PUT_SHARE) return this.#put(name, client, pick(writes, random));
    if (dice < PUT_SHARE + DELETE_SHARE) return this.#delete(name, client, pick(writes, random));
    if (dice < PUT_SHARE + DELETE_SHARE + TOUCH_SHARE) return this.#touch(client, pick(writes, random));
    if (dice > 1 - PATTERN_SHARE && groups.length > 0) return this.#deleteGroup(name, client, pick(groups, random));
    return this.#get(name, client, pick(reads, random));
  }

  async #put(name: string, client: SoakClient, key: string): Promise<void> {
    const { history } = this.#options;
    const value = history.nextValue();
    const put = this.#begin(name, "put", key, value);
    const answer = await client.call("POST", "/api/cache", JSON.stringify({ key, value }));
    this.#noteWrites([put], answer);
  }

  async #delete(name: string, client: SoakClient, key: string): Promise<void> {
    const removed = this.#begin(name, "delete", key, null);
    this.#noteWrites([removed], await client.call("DELETE", pathOf(key)));
  }

  /** Changes how long an entry lives, which never changes its value nor brings one back. */
  async #touch(client: SoakClient, key: string): Promise<void> {
    const answer = await client.call("PATCH", pathOf(key), '{"ttl":"100h"}');
    this.#count(answer.status);
    if (answer.status === 500) this.#odd(`PATCH ${key}`, answer);
  }

  async #deleteGroup(name: string, client: SoakClient, group: string): Promise<void> {
    const { writes, patternsMayMiss } = this.#options;
    const ofGroup = writes.filter((key) => key.startsWith(group));
    const removed = ofGroup.map((key) => this.#begin(name, "delete", key, null, patternsMayMiss));
    this.#noteWrites(removed, await client.call("DELETE", `/api/cache?pattern=${encodeURIComponent(`${group}*`)}`));
  }

  async #get(name: string, client: SoakClient, key: string): Promise<void> {
    const read = this.#begin(name, "get", key, null);
    const answer = await client.call("GET", pathOf(key));
    this.#count(answer.status);
    if (!noteRead(this.#options.history, read, answer) && !isOutage(answer)) this.#odd(`GET ${key}`, answer);
  }

  #begin(client: string, kind: Operation["kind"], key: string, value: number | null, mayMiss = false): Operation {
    const { history, node } = this.#options;
    return history.begin({ client, node, key, kind, value, mayMiss });
  }

  #noteWrites(writes: readonly Operation[], answer: RawAnswer): void {
    this.#count(answer.status);
    const code = /"code":"([A-Z_]+)"/.exec(answer.body)?.[1] ?? "";
    const isGone = answer.status === 404 && writes.every(({ kind }) => kind === "delete");
    for (const write of writes) {
      if (answer.status === 200 || isGone) this.#options.history.end(write, "ok");
      else if (REFUSALS.has(code)) this.#options.history.end(write, "refused");
    }
    if (answer.status !== 200 && !isGone && !isOutage(answer))
      this.#odd(`${writes[0]?.kind} ${writes[0]?.key}`, answer);
  }

  #count(status: number): void {
    this.#sawOutage = status >= 500;
    this.answers.set(status, (this.answers.get(status) ?? 0) + 1);
  }

  #odd(what: string, answer: RawAnswer): void {
    this.oddities.push(`${what}: ${answer.status} ${answer.body.slice(0, 200)}`);
  }
}

/** What a fault behind the node, or its own stop, may be answered with. */
function isOutage({ status }: RawAnswer): boolean {
  return status === 502 || status === 503 || status === 504 || status === 507;
}

function pick<Item>(items: readonly Item[], random: () => number): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("there is nothing to pick from");
  return item;
}
