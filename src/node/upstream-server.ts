import type { Loaded } from "../cache/backing-store.ts";
import { type ByteBudget, InFlight } from "../runtime/byte-budget.ts";
import { answerCall, type CallAnswer, type CallRequest, copied } from "../runtime/rpc.ts";
import type { Hub } from "./hub.ts";
import { readMutations } from "./mutation-frames.ts";
import {
  type Failure,
  failureOf,
  MAIN_CALLS,
  type MainCalls,
  type UpstreamAnswer,
  type UpstreamRequest,
} from "./upstream-messages.ts";

interface Answers {
  readonly records: { from: number; to: number; failure: Failure | null }[];
  readonly loads: { ids: readonly number[]; result: Loaded | Failure }[];
  readonly calls: CallAnswer<Failure>[];
}

/** As much of the hub as threads can ask for. */
export type ServedHub = Pick<Hub, "commit" | "load" | "refresh" | keyof MainCalls>;

/** Serves one HTTP thread from the hub. What is answered in one turn of the event loop goes in one message. */
export class UpstreamServer {
  #answers = noAnswers();
  #isScheduled = false;

  constructor(
    private readonly hub: ServedHub,
    private readonly post: (answer: UpstreamAnswer) => void,
    private readonly defer: (run: () => void) => void,
    /** Counts what was loaded until the thread has it, which gives it back. */
    private readonly inFlight: ByteBudget,
  ) {}

  receive(request: UpstreamRequest): void {
    if (request.records !== null) this.#record(request.records, request.firstRecord);
    this.#load(request);
    for (const key of request.refreshKeys) this.hub.refresh(key);
    for (const call of request.calls) void this.#call(call);
  }

  #record(records: Uint8Array<ArrayBuffer>, first: number): void {
    for (const [number, mutation] of readMutations(records).entries()) {
      const id = first + number;
      const completion = {
        done: () => this.#answerRecord(id, null),
        failed: (error: unknown) => this.#answerRecord(id, failureOf(error)),
      };
      if (this.hub.commit(mutation, completion)) completion.done();
    }
  }

  #answerRecord(id: number, failure: Failure | null): void {
    const { records } = this.#answers;
    const last = records.at(-1);
    if (failure === null && last !== undefined && last.failure === null && last.to === id - 1) last.to = id;
    else records.push({ from: id, to: id, failure });
    this.#schedule();
  }

  /** Those who ask for the same key get one copy of the answer together. */
  #load({ loadIds: ids, loadKeys: keys, loadTraces: traces }: UpstreamRequest): void {
    const traceOf = new Map(keys.map((key, number) => [key, traces[number] ?? ""]));
    const idsOf = new Map<string, number[]>();
    for (const [number, key] of keys.entries()) {
      const id = ids[number] ?? 0;
      const others = idsOf.get(key);
      if (others === undefined) idsOf.set(key, [id]);
      else others.push(id);
    }
    for (const [key, asking] of idsOf) {
      const answer = (result: Loaded | Failure): void => {
        this.inFlight.count(InFlight.Upstream, loadedBytes(result));
        this.#answers.loads.push({ ids: asking, result });
        this.#schedule();
      };
      this.hub.load(key, traceOf.get(key) || undefined).then(
        (loaded) => answer(withOwnBytes(loaded)),
        (error) => answer(failureOf(error)),
      );
    }
  }

  async #call(call: CallRequest): Promise<void> {
    const answer = await answerCall(this.hub, MAIN_CALLS, call, failureOf);
    // The answers of before may have been sent meanwhile.
    this.#answers.calls.push(answer);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.defer(() => {
      this.#isScheduled = false;
      const answers = this.#answers;
      this.#answers = noAnswers();
      this.post({ kind: "upstream", ...answers });
    });
  }
}

/** What a load brings into the memory of whoever asked. */
function loadedBytes(result: Loaded | Failure): number {
  return result.kind === "found" ? result.value.bytes.length : 0;
}

/** A view would take everything along that it is a view of. */
function withOwnBytes(loaded: Loaded): Loaded {
  if (loaded.kind === "absent") return loaded;
  const { bytes } = loaded.value;
  return {
    ...loaded,
    value: { ...loaded.value, bytes: bytes.byteLength === bytes.buffer.byteLength ? bytes : copied(bytes) },
  };
}

function noAnswers(): Answers {
  return { records: [], loads: [], calls: [] };
}
