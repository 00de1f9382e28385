/**
 * Fills a node that starts empty with the entries of a peer, page by page.
 *
 * The peer sends them only when it has received all mutations of all other peers that were stamped before this node's
 * start: otherwise it could still hold an entry whose replacement had reached this node before it restarted, and that
 * entry would never be corrected here. And only a peer that started before this node, or has been filled by such a
 * peer, can be a source: one that started later, or is still being filled itself, has nothing that this node would not
 * get anyway.
 */
import { hasValue } from "../model/mutation.ts";
import type { Version } from "../model/stamp.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { Applier } from "./applier.ts";
import type { NodeIdentity } from "./node-identity.ts";
import type { PeerLink } from "./peer-link.ts";

export interface BootstrapOptions {
  readonly node: NodeIdentity;
  readonly applier: Applier;
  readonly scheduler: Scheduler;
  /** Links of the peers that are up, the nearest first. */
  readonly sources: () => readonly PeerLink[];
  /** Whether the links of all peers are up. */
  readonly areAllUp: () => boolean;
  /** A version newer than all stamps from before this node's start. */
  readonly startVersion: () => Version;
  readonly timeoutMs: number;
  /** Pause between two pages, so that the peer and this node can serve their clients. */
  readonly pauseMs: number;
  /** Called when the node may serve: it has the entries, or no longer waits for them. */
  readonly onReady: () => void;
  readonly log: (message: string) => void;
}

/** `late`: the node serves what it has, and gets the entries as soon as a peer can send them. */
export type BootstrapState = "running" | "late" | "done" | "stopped";

const RETRY_MS = 500;
/** How long to wait for peers that themselves wait for an unreachable node, which can be away for days. */
const UNSETTLED_MS = 5_000;

export class Bootstrap {
  readonly #options: BootstrapOptions;
  readonly #ending = new AbortController();
  readonly #startMs: number;
  #state: BootstrapState = "running";
  #entries = 0;
  #cursor: string | null = null;
  #source: PeerLink | null = null;
  #until: Version | null = null;
  /** Since when no asked peer could send entries; null = one can, or none was asked. */
  #unsettledSinceMs: number | null = null;
  /** Peers that reported to have nothing to send. */
  readonly #newcomers = new Set<PeerLink>();
  #isFilled = false;

  constructor(options: BootstrapOptions) {
    this.#options = options;
    this.#startMs = options.scheduler.monotonicMs();
  }

  get state(): BootstrapState {
    return this.#state;
  }

  /** Whether this node has received all entries of a peer. */
  get isFilled(): boolean {
    return this.#isFilled;
  }

  /** Resolves when the bootstrap is complete, or stopped. */
  async run(): Promise<void> {
    const { pauseMs, log } = this.#options;
    while (this.#isWanted) {
      const reason = this.#state === "running" ? this.#reasonToStart() : null;
      if (reason !== null) {
        this.#serve("late");
        log(`${reason}: this node starts without their entries, and gets them as soon as they can be sent`);
      }
      const wentOn = await this.#next();
      if (this.#isWanted) await this.#pause(wentOn ? pauseMs : RETRY_MS);
    }
  }

  get #isWanted(): boolean {
    return this.#state === "running" || this.#state === "late";
  }

  #serve(state: "late" | "done"): void {
    this.#state = state;
    this.#options.onReady();
  }

  #reasonToStart(): string | null {
    const { scheduler, timeoutMs } = this.#options;
    const nowMs = scheduler.monotonicMs();
    const sinceMs = this.#unsettledSinceMs;
    if (sinceMs !== null && nowMs - sinceMs >= UNSETTLED_MS) return "the peers wait for a node that is away";
    return nowMs - this.#startMs >= timeoutMs ? `no peer could give its entries within ${timeoutMs} ms` : null;
  }

  stop(): void {
    if (this.#isWanted) this.#state = "stopped";
    this.#ending.abort();
  }

  /** Requests the next page; false = there was none, and the request is to be repeated later. */
  async #next(): Promise<boolean> {
    const { node, applier, scheduler, startVersion, log } = this.#options;
    const link = this.#chooseSource();
    if (link === null) return false;
    // The peer must first have this node's own mutations from before the restart, which are no longer here.
    if (link.hasBacklog) return false;
    this.#until ??= startVersion();
    const runsForMs = scheduler.monotonicMs() - this.#startMs;
    try {
      const head = { ...node.signature(scheduler.nowMs()), until: this.#until, cursor: this.#cursor };
      const answer = await link.caller.ask("page", head, [], this.#ending.signal);
      const isNewcomer = (answer.head.numberOrNull("sinceMs") ?? Number.POSITIVE_INFINITY) < runsForMs;
      if (this.#isAlone(link, isNewcomer)) {
        this.#serve("done");
        log("no peer was there before this node: it starts with what it has");
        return false;
      }
      if (isNewcomer || !answer.head.flag("isSettled")) {
        this.#unsettledSinceMs ??= scheduler.monotonicMs();
        if (isNewcomer) this.#cursor = null;
        this.#forgetSource();
        return false;
      }
      this.#unsettledSinceMs = null;
      for (const mutation of answer.mutations) {
        if (hasValue(mutation) && (await applier.restore(mutation)) === "applied") this.#entries += 1;
      }
      this.#cursor = answer.head.textOrNull("cursor");
      if (this.#cursor === null && this.#isWanted) {
        this.#serve("done");
        this.#isFilled = true;
        log(`${this.#entries} entries were copied from peer ${link.name}`);
      }
      return true;
    } catch {
      // The page is repeated, from the same peer if it is back; with another peer, the copy starts over.
      return false;
    }
  }

  /** Records a peer's answer, and returns whether all peers are up and none of them has entries to send. */
  #isAlone(link: PeerLink, isNewcomer: boolean): boolean {
    const { sources, areAllUp } = this.#options;
    if (!areAllUp()) this.#newcomers.clear();
    if (isNewcomer) this.#newcomers.add(link);
    else this.#newcomers.delete(link);
    return this.#isWanted && areAllUp() && sources().every((source) => this.#newcomers.has(source));
  }

  #chooseSource(): PeerLink | null {
    if (this.#source?.session != null) return this.#source;
    const [nearest = null] = this.#options.sources();
    if (nearest !== this.#source) this.#cursor = null;
    this.#source = nearest;
    return nearest;
  }

  /** Another peer may have the mutations that this one waits for. */
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
