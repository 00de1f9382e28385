import type { Mutation } from "../cache/mutation.ts";
import { type Loaded, type PeerRequest, UpstreamError } from "../cache/upstream.ts";
import { type ByteBudget, InFlight } from "../runtime/byte-budget.ts";
import type { Hub } from "./hub.ts";
import { readMutations, withBuffer } from "./mutation-codec.ts";
import type { CallResult, Failure, UpstreamAnswer, UpstreamCall, UpstreamRequest } from "./upstream-messages.ts";

interface Answers {
  readonly records: { from: number; to: number; failure: Failure | null }[];
  readonly loads: { ids: readonly number[]; result: Loaded | Failure }[];
  readonly calls: { id: number; result: CallResult | Failure }[];
}

/** As much of the hub as threads can ask for. */
export type ServedHub = Pick<
  Hub,
  | "recordsTogether"
  | "record"
  | "recordAll"
  | "load"
  | "refresh"
  | "replicate"
  | "report"
  | "deadLetters"
  | "retryDead"
  | "dropDead"
  | "keepPending"
  | "pendingOf"
  | "doubt"
>;

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
    const mutations = readMutations(records);
    if (!this.hub.recordsTogether || mutations.length === 1) {
      this.#recordEach(mutations, first);
      return;
    }
    this.hub.recordAll(mutations).then(
      () => this.#answerRecords(first, first + mutations.length - 1, null),
      // There was no room for all of them, but those who came with a large one are not to suffer from it.
      () => this.#recordEach(mutations, first),
    );
  }

  #recordEach(mutations: readonly Mutation[], first: number): void {
    for (const [number, mutation] of mutations.entries()) {
      const id = first + number;
      this.hub.record(mutation).then(
        () => this.#answerRecords(id, id, null),
        (error) => this.#answerRecords(id, id, failureOf(error)),
      );
    }
  }

  #answerRecords(from: number, to: number, failure: Failure | null): void {
    this.#answers.records.push({ from, to, failure });
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

  async #call(call: UpstreamCall): Promise<void> {
    const { id } = call;
    let result: CallResult | Failure;
    try {
      result = await this.#resultOf(call);
    } catch (error) {
      result = failureOf(error);
    }
    this.#answers.calls.push({ id, result });
    this.#schedule();
  }

  #resultOf(call: UpstreamCall): CallResult | Promise<CallResult> {
    switch (call.name) {
      case "report":
        return this.hub.report();
      case "deadLetters":
        return this.hub.deadLetters(call.afterId, call.limit);
      case "retryDead":
        return this.hub.retryDead(call.ids);
      case "dropDead":
        return this.hub.dropDead(call.ids);
      case "replicate":
        return this.#replicate(call.request);
      case "keepPending":
        return this.#keepPending(withBuffer(call.mutation));
      case "pendingOf":
        return this.#pendingOf(call.key);
      case "doubt":
        this.hub.doubt(call.key, call.stamp);
        return DONE;
    }
  }

  async #replicate(request: PeerRequest): Promise<CallResult> {
    const { body } = request;
    const own = { ...request, body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
    const response = await this.hub.replicate(own);
    return { kind: "replicated", response: response === null ? null : { ...response, body: ownBytes(response.body) } };
  }

  async #keepPending(mutation: Mutation): Promise<CallResult> {
    await this.hub.keepPending(mutation);
    return DONE;
  }

  async #pendingOf(key: string): Promise<CallResult> {
    const mutation = await this.hub.pendingOf(key);
    if (mutation?.kind !== "put") return { kind: "pending", mutation };
    const { bytes, contentType } = mutation.value;
    return { kind: "pending", mutation: { ...mutation, value: { bytes: ownBytes(bytes), contentType } } };
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

/** Of a call that only has to be done. */
const DONE: CallResult = 0;

/** What a load brings into the memory of whoever asked. */
function loadedBytes(result: Loaded | Failure): number {
  return result.kind === "found" ? result.value.bytes.length : 0;
}

/** A view would take everything along that it is a view of. */
function withOwnBytes(loaded: Loaded): Loaded {
  if (loaded.kind === "absent") return loaded;
  const { bytes, contentType } = loaded.value;
  return { ...loaded, value: { bytes: ownBytes(bytes), contentType } };
}

function ownBytes(bytes: Buffer): Buffer {
  if (bytes.byteLength === bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

function noAnswers(): Answers {
  return { records: [], loads: [], calls: [] };
}

function failureOf(error: unknown): Failure {
  if (error instanceof UpstreamError) {
    const { code, message, retryAfterMs, isKept } = error;
    return { kind: "failure", code, message, retryAfterMs, isKept };
  }
  return { kind: "failure", code: null, message: String(error), retryAfterMs: 0, isKept: false };
}
