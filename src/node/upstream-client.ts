import type { BackingStore, Loaded } from "../cache/backing-store.ts";
import type { CommitLog } from "../cache/commit-log.ts";
import type { Completion } from "../model/completion.ts";
import type { Mutation } from "../model/mutation.ts";
import { type ByteBudget, InFlight } from "../runtime/byte-budget.ts";
import { CallClient, type CallRequest, viewed } from "../runtime/rpc.ts";
import type { Hub } from "./hub.ts";
import { MutationWriter } from "./mutation-frames.ts";
import {
  errorOf,
  type Failure,
  isFailure,
  MAIN_CALLS,
  type MainCalls,
  type UpstreamAnswer,
  type UpstreamRequest,
} from "./upstream-messages.ts";

export interface UpstreamClientOptions {
  readonly post: (request: UpstreamRequest, transfer: readonly ArrayBuffer[]) => void;
  /** Runs after the requests of this turn of the event loop. */
  readonly defer: (run: () => void) => void;
  /** Never goes back. */
  readonly monotonicMs: () => number;
  /** What was loaded is given back to it as soon as it was handed on. */
  readonly inFlight: ByteBudget;
}

type Asked<T> = Pick<PromiseWithResolvers<T>, "resolve" | "reject">;
/** Below that, a buffer is left to the garbage collector, which is cheaper. */
const WORTH_FREEING_BYTES = 4 * 1024;

/** A key that was found to be due is not asked for again for so long, in ms. */
const REFRESH_PAUSE_MS = 1_000;

/** The hub as an HTTP thread sees it. */
export type HubClient = UpstreamClient & MainCalls;

export function connectHub(options: UpstreamClientOptions): HubClient {
  const client = new UpstreamClient(options);
  return Object.assign(client, client.calls.remote(MAIN_CALLS));
}

/** What is asked for in one turn of the event loop goes in one message. */
class UpstreamClient implements CommitLog, BackingStore {
  readonly calls = new CallClient<Hub, Failure>((request) => {
    this.#calls.push(request);
    this.#schedule();
  }, errorOf);
  readonly #options: UpstreamClientOptions;
  readonly #writer = new MutationWriter();
  readonly #recording = new Map<number, Completion<void>>();
  readonly #loading = new Map<number, Asked<Loaded>>();
  /** Asked for since `#refreshedSinceMs`. */
  readonly #refreshed = new Set<string>();
  #refreshedSinceMs = Number.NEGATIVE_INFINITY;
  #loadIds: number[] = [];
  #loadKeys: string[] = [];
  #loadTraces: string[] = [];
  #refreshKeys: string[] = [];
  #calls: CallRequest[] = [];
  #nextId = 1;
  #nextRecord = 1;
  #isScheduled = false;

  constructor(options: UpstreamClientOptions) {
    this.#options = options;
  }

  commit(mutation: Mutation, completion: Completion<void>): boolean {
    this.#writer.add(mutation);
    this.#schedule();
    this.#recording.set(this.#nextRecord++, completion);
    return false;
  }

  load(key: string, traceContext = ""): Promise<Loaded> {
    const id = this.#nextId++;
    this.#loadIds.push(id);
    this.#loadKeys.push(key);
    this.#loadTraces.push(traceContext);
    this.#schedule();
    return asked(this.#loading, id);
  }

  refresh(key: string): void {
    const nowMs = this.#options.monotonicMs();
    if (nowMs - this.#refreshedSinceMs >= REFRESH_PAUSE_MS) {
      this.#refreshed.clear();
      this.#refreshedSinceMs = nowMs;
    }
    if (this.#refreshed.has(key)) return;
    this.#refreshed.add(key);
    this.#refreshKeys.push(key);
    this.#schedule();
  }

  /** To be called with each answer of the hub. */
  receive(answer: UpstreamAnswer): void {
    for (const { from, to, failure } of answer.records) {
      for (let id = from; id <= to; id++) this.#recorded(id, failure);
    }
    for (const { ids, result } of answer.loads) {
      const loaded = isFailure(result) ? null : withBuffer(result);
      for (const [number, id] of ids.entries()) {
        settle(this.#loading, id, isFailure(result) ? result : null, number === 0 ? loaded : collapsed(loaded));
      }
      if (loaded?.kind === "found") this.#forgetLater(loaded.value.bytes);
    }
    this.calls.receive(answer.calls);
  }

  /** Those who asked copy the value in this turn. */
  #forgetLater(bytes: Buffer): void {
    const { length } = bytes;
    this.#options.defer(() => {
      this.#options.inFlight.giveBack(InFlight.Upstream, length);
      const { buffer } = bytes;
      // Loads of one key that were answered together share a buffer.
      if (length < WORTH_FREEING_BYTES || !(buffer instanceof ArrayBuffer) || buffer.detached) return;
      buffer.transfer(0);
    });
  }

  #recorded(id: number, failure: Failure | null): void {
    const completion = this.#recording.get(id);
    if (completion === undefined) return;
    this.#recording.delete(id);
    if (failure === null) completion.done();
    else completion.failed(errorOf(failure));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.defer(() => this.#flush());
  }

  #flush(): void {
    this.#isScheduled = false;
    const { count } = this.#writer;
    const records = count === 0 ? null : this.#writer.take();
    const request: UpstreamRequest = {
      kind: "upstream",
      records,
      firstRecord: this.#nextRecord - count,
      loadIds: this.#loadIds,
      loadKeys: this.#loadKeys,
      loadTraces: this.#loadTraces,
      refreshKeys: this.#refreshKeys,
      calls: this.#calls,
    };
    this.#loadIds = [];
    this.#loadKeys = [];
    this.#loadTraces = [];
    this.#refreshKeys = [];
    this.#calls = [];
    this.#options.post(request, records === null ? [] : [records.buffer]);
  }
}

function asked<T>(waiting: Map<number, Asked<T>>, id: number): Promise<T> {
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

function settle<T>(waiting: Map<number, Asked<T>>, id: number, failure: Failure | null, value: T | null): void {
  const one = waiting.get(id);
  if (one === undefined) return;
  waiting.delete(id);
  if (failure !== null) one.reject(errorOf(failure));
  else if (value !== null) one.resolve(value);
}

/** Of those who asked together, all but the first. */
function collapsed(loaded: Loaded | null): Loaded | null {
  return loaded?.kind === "found" ? { ...loaded, isCollapsed: true } : loaded;
}

function withBuffer(loaded: Loaded): Loaded {
  if (loaded.kind === "absent") return loaded;
  return { ...loaded, value: { ...loaded.value, bytes: viewed(loaded.value.bytes) } };
}
