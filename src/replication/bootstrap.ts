/**
 * Fills a node that starts empty with the entries of a peer, page by page.
 *
 * The peer gives them only when it has everything of every other peer that was stamped before: an entry that it still
 * held because something newer had not reached it, but had reached this node before it started anew, would never be
 * corrected here.
 */
import type { Version } from "../engine/engine.ts";
import type { Scheduler } from "../outbox/scheduler.ts";
import type { Applier } from "./applier.ts";
import type { LocalNode } from "./local-node.ts";
import type { PeerLink } from "./peer-link.ts";

export interface BootstrapOptions {
  readonly node: LocalNode;
  readonly applier: Applier;
  readonly scheduler: Scheduler;
  /** Links of peers that are up, the nearest first. */
  readonly sources: () => readonly PeerLink[];
  /** A version that is newer than everything that was stamped before this node started. */
  readonly startVersion: () => Version;
  readonly timeoutMs: number;
  /** Between two pages, so that the peer and this node have time for their clients. */
  readonly pauseMs: number;
  readonly log: (message: string) => void;
}

export type BootstrapState = "running" | "done" | "timed-out" | "stopped";

const RETRY_MS = 500;

export class Bootstrap {
  readonly #options: BootstrapOptions;
  readonly #ending = new AbortController();
  readonly #startMs: number;
  #state: BootstrapState = "running";
  #entries = 0;
  #cursor: string | null = null;
  #source: PeerLink | null = null;
  #until: Version | null = null;

  constructor(options: BootstrapOptions) {
    this.#options = options;
    this.#startMs = options.scheduler.nowMs();
  }

  get state(): BootstrapState {
    return this.#state;
  }

  /** Entries that came from the peer. */
  get entries(): number {
    return this.#entries;
  }

  /** Resolves when it is done, or time is over. */
  async run(): Promise<void> {
    const { scheduler, timeoutMs, pauseMs, log } = this.#options;
    while (this.#state === "running") {
      if (scheduler.nowMs() - this.#startMs >= timeoutMs) {
        this.#state = "timed-out";
        log(`no peer could give its entries within ${timeoutMs} ms: this node goes on with what it has`);
        return;
      }
      const wentOn = await this.#next();
      if (this.#state === "running") await this.#pause(wentOn ? pauseMs : RETRY_MS);
    }
  }

  stop(): void {
    if (this.#state === "running") this.#state = "stopped";
    this.#ending.abort();
  }

  /** Asks for the next page; false = there was none, and it is to be asked again a little later. */
  async #next(): Promise<boolean> {
    const { node, applier, scheduler, startVersion, log } = this.#options;
    const link = this.#chooseSource();
    if (link === null) return false;
    // What this node itself did before it started anew is not here any more: the peer must have it first.
    if (link.hasBacklog) return false;
    this.#until ??= startVersion();
    try {
      const head = { ...node.signature(scheduler.nowMs()), until: this.#until, cursor: this.#cursor };
      const answer = await link.caller.ask("page", head, [], this.#ending.signal);
      if (!answer.head.flag("isSettled")) {
        this.#forgetSource();
        return false;
      }
      for (const mutation of answer.mutations) {
        if (mutation.kind === "put" && (await applier.restore(mutation)) === "applied") this.#entries += 1;
      }
      this.#cursor = answer.head.textOrNull("cursor");
      if (this.#cursor === null && this.#state === "running") {
        this.#state = "done";
        log(`${this.#entries} entries came from peer ${link.name}`);
      }
      return true;
    } catch {
      // The page comes again, from the same peer if it is back; from another one, everything does.
      return false;
    }
  }

  #chooseSource(): PeerLink | null {
    if (this.#source?.session != null) return this.#source;
    const [nearest = null] = this.#options.sources();
    if (nearest !== this.#source) this.#cursor = null;
    this.#source = nearest;
    return nearest;
  }

  /** Another one may have what this one waits for. */
  #forgetSource(): void {
    const sources = this.#options.sources();
    const at = this.#source === null ? -1 : sources.indexOf(this.#source);
    const other = sources[(at + 1) % Math.max(1, sources.length)] ?? null;
    if (other === this.#source) return;
    this.#source = other;
    this.#cursor = null;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.scheduler.after(ms, resolve);
      this.#ending.signal.addEventListener("abort", () => {
        cancel();
        resolve();
      });
    });
  }
}
