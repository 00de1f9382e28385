/** Those who wait until the backend has their write, by key. */
import { BackendError } from "./backend.ts";

export interface WriteWaiter {
  readonly promise: Promise<void>;
  timeOut(): void;
  remove(): void;
}

interface Waiting {
  readonly version: number;
  readonly settle: PromiseWithResolvers<void>;
}

const NOBODY: readonly Waiting[] = [];

export class WriteWaiters {
  readonly #byKey = new Map<string, Set<Waiting>>();

  get size(): number {
    return this.#byKey.size;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  add(key: string, version: number): WriteWaiter {
    const waiting: Waiting = { version, settle: Promise.withResolvers() };
    const others = this.#byKey.get(key) ?? new Set();
    others.add(waiting);
    this.#byKey.set(key, others);
    // The append may fail first; then nobody looks at this one any more.
    waiting.settle.promise.catch(() => {});
    return {
      promise: waiting.settle.promise,
      timeOut: () =>
        waiting.settle.reject(
          new BackendError("ERR_BACKEND_TIMEOUT", "the backend did not take the write in time; it is written later"),
        ),
      remove: () => {
        others.delete(waiting);
        if (others.size === 0 && this.#byKey.get(key) === others) this.#byKey.delete(key);
      },
    };
  }

  /** The backend has this version of the key, or a newer one. */
  done(key: string, version: number): void {
    for (const waiting of this.#upTo(key, version)) waiting.settle.resolve();
  }

  /** Whether somebody waits for exactly this version. */
  waitsFor(key: string, version: number): boolean {
    return this.#upTo(key, version).some((waiting) => waiting.version === version);
  }

  refused(key: string, version: number, reason: string): void {
    for (const waiting of this.#upTo(key, version)) {
      waiting.settle.reject(new BackendError("ERR_BACKEND_REFUSED", `the backend refuses the write: ${reason}`));
    }
  }

  endAll(): void {
    const error = new BackendError("ERR_BACKEND_UNAVAILABLE", "the node stops; the write is kept and written later");
    for (const others of this.#byKey.values()) for (const waiting of others) waiting.settle.reject(error);
  }

  #upTo(key: string, version: number): readonly Waiting[] {
    if (this.#byKey.size === 0) return NOBODY;
    return [...(this.#byKey.get(key) ?? [])].filter((waiting) => waiting.version <= version);
  }
}
