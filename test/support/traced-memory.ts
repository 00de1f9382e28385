import type { MemoryHandle, MemoryViews } from "../../src/engine/memory/arena.ts";

/** One store into shared memory: what stood there before and after. */
export interface Store {
  readonly buffer: number;
  /** In bytes. */
  readonly at: number;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly isAtomic: boolean;
}

/** What a thread does to shared memory, one access at a time. */
export interface AccessHooks {
  /** Before a load. */
  load?(buffer: number, at: number): void;
  /** After a store that changed something. */
  store?(store: Store): void;
  /** Before an atomic operation on a word of the thread's own: a fence. */
  fence?(): void;
}

/** A thread came to a lock that another has: in here, all run on one. */
export class WouldWaitError extends Error {}

/** A copy of bytes is made in so many parts, between which anything can happen. */
const PARTS = 4;
const ATOMICS = ["add", "compareExchange", "exchange", "load", "store"] as const;

/** The buffers of a memory, by number: the control buffer is 0. */
export function buffersOf(handle: MemoryHandle): Uint8Array[] {
  return [handle.control, ...handle.data].map((buffer) => new Uint8Array(buffer));
}

/** Views of shared memory that call back on every load and store, also of Atomics and copies of bytes. */
export class TracedMemory {
  hooks: AccessHooks = {};
  private readonly buffers: readonly SharedArrayBuffer[];
  private readonly traced = new Map<object, { readonly raw: Int32Array | Buffer; readonly buffer: number }>();

  constructor(handle: MemoryHandle) {
    this.buffers = [handle.control, ...handle.data];
  }

  readonly views: MemoryViews = {
    words: (buffer) => this.proxy(new Int32Array(buffer), buffer),
    bytes: (buffer) => this.proxy(Buffer.from(buffer), buffer),
  };

  /** Runs what uses the views. Until it returns, Atomics and copies of bytes know them, too. */
  run<T>(action: () => T): T {
    const restore = this.patch();
    try {
      return action();
    } finally {
      restore();
    }
  }

  /** The same for what is done after some turns. */
  async runLonger(action: () => unknown): Promise<void> {
    const restore = this.patch();
    try {
      await action();
    } finally {
      restore();
    }
  }

  private patch(): () => void {
    const atomics = { ...this.originalAtomics(), wait: Atomics.wait, notify: Atomics.notify };
    const copy = Buffer.prototype.copy;
    Object.assign(Atomics, this.tracedAtomics(atomics));
    const { copyParts, traced } = this;
    Buffer.prototype.copy = function (this: Buffer, target: Uint8Array, ...range: [number, number, number]) {
      if (!traced.has(target) && !traced.has(this)) return copy.call(this, target, ...range);
      return copyParts(copy, this, target, ...range);
    } as typeof copy;
    return () => {
      Object.assign(Atomics, atomics);
      Buffer.prototype.copy = copy;
    };
  }

  private originalAtomics(): Record<(typeof ATOMICS)[number], (...args: never[]) => number> {
    const { add, compareExchange, exchange, load, store } = Atomics;
    return { add, compareExchange, exchange, load, store };
  }

  private tracedAtomics(original: object): Record<string, unknown> {
    const patched: Record<string, unknown> = {
      wait: () => {
        throw new WouldWaitError("a thread would wait for a lock that is never given back");
      },
      notify: () => 0,
    };
    for (const name of ATOMICS) {
      const operation: unknown = Reflect.get(original, name);
      if (typeof operation !== "function") throw new Error(`no Atomics.${name}`);
      patched[name] = (array: Int32Array, at: number, ...values: number[]): number => {
        const found = this.traced.get(array);
        if (found === undefined) {
          this.hooks.fence?.();
          return operation(array, at, ...values);
        }
        this.hooks.load?.(found.buffer, at * 4);
        return this.store(found.buffer, at * 4, 4, () => operation(found.raw, at, ...values), "atomic");
      };
    }
    return patched;
  }

  private proxy<View extends Int32Array | Buffer>(raw: View, buffer: SharedArrayBuffer): View {
    const number = this.buffers.indexOf(buffer);
    const size = raw.BYTES_PER_ELEMENT;
    const proxy = new Proxy(raw, {
      get: (target, property) => {
        const at = typeof property === "string" ? Number(property) : Number.NaN;
        if (at >= 0) {
          this.hooks.load?.(number, at * size);
          return target[at];
        }
        if (property === "fill") return (...range: [number, number, number]) => this.fill(number, target, ...range);
        if (property === "write") return (...text: [string, number, "latin1"]) => this.write(number, target, ...text);
        const value: unknown = Reflect.get(target, property, target);
        // `copy` is the one that `run` puts in place: it must see the view, not what is behind it.
        if (typeof value !== "function" || property === "copy") return value;
        if (property === "toString") return value.bind(target);
        throw new Error(`a call of ${String(property)} on shared memory isn't traced: teach TracedMemory about it`);
      },
      set: (target, property, value) => {
        const at = Number(property);
        return this.store(number, at * size, size, () => Reflect.set(target, at, value));
      },
    });
    this.traced.set(proxy, { raw, buffer: number });
    return proxy;
  }

  private fill(buffer: number, target: Int32Array | Buffer, value: number, start: number, end: number): void {
    const size = target.BYTES_PER_ELEMENT;
    for (const [from, to] of parts(start, end)) {
      this.store(buffer, from * size, (to - from) * size, () => target.fill(value, from, to));
    }
  }

  private write(buffer: number, target: Int32Array | Buffer, text: string, at: number, encoding: "latin1"): void {
    if (!(target instanceof Buffer)) throw new Error("words take no text");
    this.store(buffer, at, text.length, () => target.write(text, at, encoding));
  }

  private readonly copyParts = (
    copy: typeof Buffer.prototype.copy,
    source: Buffer,
    target: Uint8Array,
    targetStart: number,
    sourceStart: number,
    sourceEnd: number,
  ): number => {
    const from = this.traced.get(source);
    const to = this.traced.get(target);
    const rawSource = (from?.raw as Buffer | undefined) ?? source;
    const rawTarget = (to?.raw as Buffer | undefined) ?? target;
    for (const [start, end] of parts(sourceStart, sourceEnd)) {
      if (from !== undefined) this.hooks.load?.(from.buffer, start);
      const at = targetStart + start - sourceStart;
      const act = () => copy.call(rawSource, rawTarget, at, start, end);
      if (to === undefined) act();
      else this.store(to.buffer, at, end - start, act);
    }
    return sourceEnd - sourceStart;
  };

  private store<T>(buffer: number, at: number, length: number, act: () => T, kind: "plain" | "atomic" = "plain"): T {
    const { store } = this.hooks;
    const shared = this.buffers[buffer];
    if (store === undefined || shared === undefined) return act();
    const bytes = new Uint8Array(shared, at, length);
    const before = bytes.slice();
    const result = act();
    const after = bytes.slice();
    if (Buffer.compare(before, after) !== 0) {
      store.call(this.hooks, { buffer, at, before, after, isAtomic: kind === "atomic" });
    }
    return result;
  }
}

function* parts(start: number, end: number): Generator<[number, number]> {
  const size = Math.max(1, Math.ceil((end - start) / PARTS));
  for (let from = start; from < end; from += size) yield [from, Math.min(end, from + size)];
}
