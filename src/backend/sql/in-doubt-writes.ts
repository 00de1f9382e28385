/**
 * Writes whose outcome is not known: the call ran out of time or lost its connection, and the server may carry the
 * statement out yet, as long as the session that got it is not over.
 *
 * An older put that comes late can't harm a newer one where versions are compared; but it could bring back what a delete
 * has removed in between. So what must not be overtaken waits until the old session is over.
 */
import type { BackendRow } from "../backend.ts";

interface Doubt {
  readonly version: number;
  readonly session: string;
}

export class InDoubtWrites {
  readonly #doubts = new Map<string, Doubt[]>();

  constructor(
    private readonly isInDoubt: (session: string) => boolean,
    private readonly limitKeys = 100_000,
  ) {}

  /** Does nothing where the session is known to be over. */
  add({ key, version }: BackendRow, session: string): void {
    if (this.isInDoubt(session)) this.#doubts.set(key, [...this.#alive(key), { version, session }]);
  }

  /** Whether an older write of the row's key may still be carried out after it. */
  threatens(row: BackendRow): boolean {
    if (this.#doubts.size >= this.limitKeys) this.#sweep();
    if (this.#doubts.size >= this.limitKeys) return true;
    return this.#alive(row.key).some(({ version }) => version < row.version);
  }

  #alive(key: string): Doubt[] {
    const doubts = this.#doubts.get(key);
    if (doubts === undefined) return [];
    const alive = doubts.filter(({ session }) => this.isInDoubt(session));
    if (alive.length === 0) this.#doubts.delete(key);
    else this.#doubts.set(key, alive);
    return alive;
  }

  #sweep(): void {
    for (const key of this.#doubts.keys()) this.#alive(key);
  }
}
