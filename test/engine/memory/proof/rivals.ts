import { POOL_LOCK } from "../../../../src/engine/memory/layout.ts";
import type { MemoryEngine } from "../../../../src/engine/memory/memory-engine.ts";
import { checkInvariants } from "../../../support/engine-invariants.ts";
import { RecordingSink } from "../../../support/engine-io.ts";
import { TracedMemory, WouldWaitError } from "../../../support/traced-memory.ts";
import { History, SHAPES } from "./history.ts";
import { ABSENT, Observer } from "./observer.ts";

export interface RivalReport {
  mutations: number;
  /** Mutations of the second writer while the first is between two locks. */
  betweenLocks: number;
  /** Mutations of the second writer in one shard while the first has the lock of another. */
  besideLocks: number;
  /** Mutations of the second writer between two loads of a get. */
  duringGets: number;
}

/** Of the first writer's loads and stores, before which the second may do something in another shard … */
const BESIDE_SHARE = 0.02;
/** … and of those that take the lock of the pool. */
const BESIDE_POOL_SHARE = 0.4;
const MOST_BESIDE = 4;

/**
 * Two writers at once: whenever the first holds no lock, or a reader is between two loads, the second may do a whole
 * mutation, often of the same key; and while the first holds the lock of a shard, one in another, which shares the pool
 * of segments and the clocks with it. After each step the memory must hold together, and no key may have gone back to
 * an older version, where the memory keeps versions.
 */
export class Rivals {
  readonly report: RivalReport = { mutations: 0, betweenLocks: 0, besideLocks: 0, duringGets: 0 };
  private readonly history: History;
  private readonly first: MemoryEngine;
  private readonly second: MemoryEngine;
  private readonly trace: TracedMemory;
  private readonly observer: Observer;
  private readonly newest: Int32Array;

  constructor(seed: number) {
    const shape = SHAPES[seed % SHAPES.length];
    if (shape === undefined) throw new Error("no such shape");
    this.history = new History({ ...shape, segments: Math.ceil(shape.segments / 2) }, seed, "with rivals");
    this.trace = new TracedMemory(this.history.handle);
    this.first = this.history.engine(1, this.trace.views);
    this.second = this.history.engine(2);
    this.observer = new Observer(this.history);
    this.newest = new Int32Array(shape.keys);
  }

  async run(steps: number): Promise<RivalReport> {
    for (let step = 0; step < steps; step++) {
      if (this.history.random() < 0.3) this.get();
      else await this.mutate();
      if (step % 4 === 0) checkInvariants(this.history.handle);
      this.checkVersions();
    }
    return this.report;
  }

  private async mutate(): Promise<void> {
    const { history, trace } = this;
    const step = history.next();
    const key = history.lastKey;
    let rivals = 0;
    let beside = 0;
    const maybeBeside = (share: number) => {
      if (history.shape.shards === 1 || beside >= MOST_BESIDE || history.random() >= share) return;
      if (this.rivalBeside()) beside++;
    };
    trace.hooks = {
      load: (buffer, at) => maybeBeside(buffer === 0 && at === POOL_LOCK * 4 ? BESIDE_POOL_SHARE : BESIDE_SHARE),
      store: ({ buffer, at, after }) => {
        maybeBeside(BESIDE_SHARE);
        const isUnlock = buffer === 0 && this.observer.isLock(at >>> 2) && after.every((byte) => byte === 0);
        if (!isUnlock || rivals >= 2 || history.random() < 0.4) return;
        rivals++;
        this.report.betweenLocks++;
        this.rival(key);
      },
    };
    await trace.runLonger(() => step(this.first));
    trace.hooks = {};
    this.report.mutations++;
  }

  private get(): void {
    const { history, trace } = this;
    const number = history.below(history.shape.keys);
    const sink = new RecordingSink();
    const moment = history.below(60);
    let loads = 0;
    trace.hooks = {
      load: () => {
        if (loads++ !== moment) return;
        this.report.duringGets++;
        this.rival(number);
      },
    };
    const found = trace.run(() => this.first.get(history.key(number), sink));
    trace.hooks = {};
    if (!found) return;
    const content = history.contents.get(sink.revision);
    if (content?.key !== number || !history.explains(content, sink.target))
      throw new Error(`key ${number}: a wrong value`);
  }

  /** The second writer's mutation, of the same key in half of the cases. */
  private rival(key: number): void {
    const { hooks } = this.trace;
    this.trace.hooks = {};
    const step = this.history.next(this.history.random() < 0.5 ? key : -1);
    step(this.second);
    for (let number = 0; number < this.newest.length; number++) this.note(number);
    this.trace.hooks = hooks;
  }

  /** The second writer's mutation of a key whose shard is free. It ends where it would wait for the first. */
  private rivalBeside(): boolean {
    const number = this.history.below(this.history.shape.keys);
    if (!this.observer.isBesideALock(number)) return false;
    const { hooks } = this.trace;
    this.trace.hooks = {};
    try {
      this.history.next(number)(this.second);
      this.report.besideLocks++;
    } catch (error) {
      if (!(error instanceof WouldWaitError)) throw error;
    } finally {
      this.trace.hooks = hooks;
    }
    return true;
  }

  private checkVersions(): void {
    for (let number = 0; number < this.newest.length; number++) this.note(number);
  }

  /** No key goes back to an older version. A reader of a shard that is being changed says nothing of it. */
  private note(number: number): void {
    const revision = this.observer.read(number, this.history.clock.nowMs);
    const newest = this.newest[number] ?? 0;
    if (revision <= ABSENT) return;
    if (revision < newest && this.history.shape.versioned)
      throw new Error(`key ${number} went from ${newest} to ${revision}`);
    this.newest[number] = revision;
  }
}
