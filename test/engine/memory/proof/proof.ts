import type { MemoryEngine } from "../../../../src/engine/memory/memory-engine.ts";
import { checkInvariants } from "../../../support/engine-invariants.ts";
import { randomOf } from "../../../support/random.ts";
import { buffersOf, type Store, TracedMemory } from "../../../support/traced-memory.ts";
import { History, SHAPES } from "./history.ts";
import { ABSENT, Observer, UNDECIDED } from "./observer.ts";
import { Owners } from "./owners.ts";

export interface ProofReport {
  mutations: number;
  stores: number;
  /** After a single store each. */
  reads: number;
  /** With stores between their loads. */
  interleavedReads: number;
  undecided: number;
}

/** Steps of which the stores are taken together when reads are interleaved with them. */
const STEPS_PER_WINDOW = 4;
const READS_PER_STATE = 3;

/** A state of the memory: what each key has in it, and what time it is. */
interface State {
  readonly revisions: Int32Array;
  readonly nowMs: number;
}

/** One kind of reads with stores between their loads. */
interface Reads {
  /** About as many as one of them makes. */
  loads: number;
  random(): number;
  below(limit: number): number;
  read(number: number, nowMs: number): number;
}

/**
 * Runs a history of mutations and reads between their single stores.
 *
 * A mutation runs once, on views that write down each store; then the memory is set back and the stores are done one by
 * one. After each, every key is read: what is found must be what it had before the mutation or what it has after it. And
 * since stores can be done and undone at will, readers run with stores between any two of their loads, as many as the
 * seed says: they must find what the key had at one time during the read.
 */
export class Proof {
  readonly report: ProofReport = { mutations: 0, stores: 0, reads: 0, interleavedReads: 0, undecided: 0 };
  private readonly history: History;
  private readonly memory: Uint8Array[];
  private readonly trace: TracedMemory;
  private readonly writer: MemoryEngine;
  private readonly observer: Observer;
  private readonly readerTrace: TracedMemory;
  private readonly reader: Observer;
  private readonly owners: Owners;
  /** The stores of the window, and the states between them: one more. */
  private stores: Store[] = [];
  private states: State[] = [];
  /** Of the stores of the window, those that say that a segment is given back: what comes before one must be harmless. */
  private recyclings: number[] = [];
  /** Keys that changed or moved in the window. */
  private readonly moving = new Set<number>();
  private at = 0;
  private readonly wholeReads: Reads;
  private readonly partReads: Reads;

  constructor(seed: number) {
    const shape = SHAPES[seed % SHAPES.length];
    if (shape === undefined) throw new Error("no such shape");
    this.history = new History(shape, seed);
    const { handle } = this.history;
    this.memory = buffersOf(handle);
    this.trace = new TracedMemory(handle);
    this.writer = this.history.engine(1, this.trace.views);
    this.observer = new Observer(this.history);
    this.readerTrace = new TracedMemory(handle);
    this.reader = new Observer(this.history, this.readerTrace.views);
    this.owners = new Owners(handle);
    const { history, reader } = this;
    const read = (number: number, nowMs: number) =>
      reader.read(number, nowMs, history.random() < 0.2 ? "no value" : "value");
    this.wholeReads = { loads: 60, random: () => history.random(), below: (limit) => history.below(limit), read };
    // Dice of their own: what the history does is up to its seed alone.
    const random = randomOf(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    this.partReads = { loads: 180, random, below, read: (number, nowMs) => reader.readInParts(number, nowMs) };
  }

  async run(steps: number): Promise<ProofReport> {
    for (let step = 0; step < steps; step++) {
      if (step % STEPS_PER_WINDOW === 0) this.openWindow();
      await this.mutate();
      if (step % STEPS_PER_WINDOW !== STEPS_PER_WINDOW - 1) continue;
      this.interleave();
      checkInvariants(this.history.handle);
    }
    return this.report;
  }

  private openWindow(): void {
    this.stores = [];
    this.states = [];
    this.recyclings = [];
    this.at = 0;
    this.moving.clear();
  }

  private async mutate(): Promise<void> {
    const { history, trace } = this;
    const places = this.places();
    const first = this.stores.length;
    const step = history.next();
    trace.hooks = {
      store: (store) => {
        this.owners.check(store);
        if (this.observer.isRecycling(store)) this.recyclings.push(this.stores.length);
        this.stores.push(store);
      },
    };
    await trace.runLonger(() => step(this.writer));
    trace.hooks = {};
    this.at = this.stores.length;
    this.report.mutations++;
    this.report.stores += this.stores.length - first;
    for (const [number, place] of this.places().entries()) if (place !== places[number]) this.moving.add(number);

    this.goTo(first);
    const states = [this.observe()];
    for (let at = first + 1; at <= this.stores.length; at++) {
      this.goTo(at);
      states.push(this.observe());
    }
    this.checkTurns(states);
    // The first state of a step is the last one of the step before, but for the time.
    this.states.push(...(first === 0 ? states : states.slice(1)));
  }

  private places(): number[] {
    return this.history.keys.map((_, number) => this.observer.place(number));
  }

  private observe(): State {
    const { nowMs } = this.history.clock;
    const revisions = new Int32Array(this.history.keys.length);
    for (let number = 0; number < revisions.length; number++) {
      const revision = this.observer.read(number, nowMs);
      if (revision === UNDECIDED && !this.observer.isChanging(number))
        throw new Error(`key ${number}: undecided at rest`);
      revisions[number] = revision;
    }
    this.report.reads += revisions.length;
    return { revisions, nowMs };
  }

  /** Each key has what it had before, then perhaps nothing, then what it has after the step. */
  private checkTurns(states: readonly State[]): void {
    const before = states[0];
    const after = states[states.length - 1];
    if (before === undefined || after === undefined) throw new Error("a step without a state");
    for (let number = 0; number < before.revisions.length; number++) {
      const old = before.revisions[number];
      const now = after.revisions[number];
      if (old === UNDECIDED || now === UNDECIDED) throw new Error(`key ${number}: a step ends in mid-change`);
      let seen = old;
      for (const { revisions } of states) {
        const revision = revisions[number];
        if (revision === UNDECIDED || revision === seen) continue;
        // The step's own key may be evicted in between, to make room for it.
        const isTurn = revision === now || (revision === ABSENT && number === this.history.lastKey && seen === old);
        if (!isTurn) throw new Error(`key ${number} had ${old}, has ${now}, and ${revision} after ${seen} in between`);
        seen = revision;
      }
    }
  }

  /** Runs reads that begin in each state of the window while more of its stores are done. */
  private interleave(): void {
    const { history, readerTrace } = this;
    const moving = [...this.moving];
    readerTrace.run(() => {
      for (let from = 0; from <= this.stores.length; from++) {
        for (let reads = 0; reads < READS_PER_STATE; reads++) {
          const moved = moving[history.below(moving.length)];
          const number = moved !== undefined && history.random() < 0.8 ? moved : history.below(history.keys.length);
          this.goTo(from);
          this.readAcross(number, from, this.wholeReads);
        }
        if (moving.length === 0) continue;
        this.goTo(from);
        this.readAcross(moving[from % moving.length] ?? 0, from, this.partReads);
      }
    });
    this.goTo(this.stores.length);
  }

  /** One read that begins in the present state, while stores are done between its loads. */
  private readAcross(number: number, from: number, reads: Reads): void {
    const { readerTrace, stores, states } = this;
    const { random, below } = reads;
    const interruptions = [1, 1, 1, 2, 4][below(5)] ?? 1;
    const moments = new Set(Array.from({ length: interruptions }, () => below(reads.loads + 2)));
    let loads = 0;
    const interrupt = () => {
      if (!moments.has(loads++)) return;
      const left = stores.length - this.at;
      const recycling = this.recyclings.find((at) => at > this.at);
      if (recycling !== undefined && random() < 0.3) return this.goTo(recycling);
      const dice = random();
      const steps = dice < 0.3 ? left : dice < 0.7 ? 1 + below(6) : below(left + 1);
      this.goTo(Math.min(stores.length, this.at + steps));
    };
    readerTrace.hooks = { load: interrupt, fence: interrupt };
    const revision = reads.read(number, states[from]?.nowMs ?? 0);
    readerTrace.hooks = {};
    reads.loads = Math.max(loads, Math.round(reads.loads * 0.9));
    this.report.interleavedReads++;
    if (revision === UNDECIDED) this.report.undecided++;
    else if (!this.had(number, revision, from, this.at)) {
      throw new Error(
        `key ${number} gave ${revision}, which it had at no time between the stores ${from} and ${this.at}`,
      );
    }
  }

  /** Whether a key had this revision in a state of a range, or in the last decided one before it or the first one after. */
  private had(number: number, revision: number, from: number, to: number): boolean {
    const { states } = this;
    const at = (state: number) => states[state]?.revisions[number];
    let first = from;
    while (first > 0 && at(first) === UNDECIDED) first--;
    let last = to;
    while (last < states.length - 1 && at(last) === UNDECIDED) last++;
    for (let state = first; state <= last; state++) if (at(state) === revision) return true;
    return false;
  }

  /** Does or undoes stores until so many of the window's are done. */
  private goTo(at: number): void {
    const { stores, memory } = this;
    while (this.at < at) {
      const store = stores[this.at++];
      if (store !== undefined) memory[store.buffer]?.set(store.after, store.at);
    }
    while (this.at > at) {
      const store = stores[--this.at];
      if (store !== undefined) memory[store.buffer]?.set(store.before, store.at);
    }
  }
}
