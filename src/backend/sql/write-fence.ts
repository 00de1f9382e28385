/**
 * Ends what earlier write sessions may still do before newer writes go out.
 *
 * A server carries out what it was sent although nobody waits for the answer any more: after a cut connection, a timeout,
 * or the end of this process. So each write session has a random name at the server, which is on the disk before its first
 * write. A session that was given up, or is left from before a start, is told to end, and counts as over when the server
 * shows it no longer. Time alone ends no doubt: a process of the server can stand still for as long as it likes.
 */
import { randomBytes } from "node:crypto";
import { BackendError } from "../backend.ts";
import { factsOf } from "./client-error.ts";
import type { RunSql, SessionControl } from "./mapping.ts";
import type { SessionLedger } from "./session-ledger.ts";

export class WriteFence {
  /** Left from before the start: nobody knows what they were writing. */
  readonly #earlier: Set<string>;
  readonly #left = new Set<string>();
  #problem = "";

  constructor(
    private readonly control: SessionControl,
    private readonly ledger: SessionLedger,
  ) {
    this.#earlier = new Set(ledger.names());
  }

  /** Why writes wait for a session to end, in words for an operator; empty = none does. */
  get problem(): string {
    return this.#problem;
  }

  /** Gives the session that `run` belongs to a name; after that it may write. */
  async enter(run: RunSql): Promise<string> {
    const name = `servcache-${randomBytes(12).toString("hex")}`;
    await this.control.name(run, name);
    this.ledger.add(name);
    return name;
  }

  /** Nobody waits for answers of the session any more. */
  leave(name: string): void {
    if (this.ledger.has(name)) this.#left.add(name);
  }

  /** Whether the session was given up, and may still do what it was asked to. */
  isInDoubt(name: string): boolean {
    return this.#left.has(name);
  }

  /** To be called before each write. Throws `BackendError` while a session from before the start may still write. */
  async pass(run: RunSql): Promise<void> {
    const names = [...this.#earlier, ...this.#left];
    if (names.length === 0) return;
    const { alive, reason } = await this.#end(run, names);
    for (const name of names) if (!alive.has(name)) this.#forget(name);
    this.#problem = alive.size === 0 ? "" : problemOf(alive, reason, this.#earlier.size > 0);
    if (this.#earlier.size > 0) throw new BackendError("ERR_BACKEND_UNAVAILABLE", this.#problem);
  }

  async #end(run: RunSql, names: readonly string[]): Promise<{ alive: Map<string, number>; reason: string }> {
    const found = await this.control.find(run, names);
    if (found.size === 0) return { alive: found, reason: "" };
    let reason = "";
    for (const [name, id] of found) {
      await this.control.end(run, name, id).catch((error: unknown) => {
        if (error instanceof BackendError) throw error;
        reason = factsOf(error).message;
      });
    }
    return { alive: await this.control.find(run, names), reason };
  }

  #forget(name: string): void {
    this.ledger.remove(name);
    this.#earlier.delete(name);
    this.#left.delete(name);
  }
}

function problemOf(alive: ReadonlyMap<string, number>, reason: string, holdsAll: boolean): string {
  const ids = [...alive.values()].slice(0, 10).join(", ");
  const held = holdsAll ? "writes wait" : "writes of the same keys wait";
  const why = reason === "" ? "they were told to end" : `they could not be ended (${reason}), end them yourself`;
  return `${held} for earlier sessions of this node that may still write, at the database ${ids}: ${why}`;
}
