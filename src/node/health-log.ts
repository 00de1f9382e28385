import type { PartHealth, PartState } from "../cache/upstream.ts";
import type { Scheduler } from "../outbox/scheduler.ts";

/** Parts by their names. */
type Parts = Record<string, PartState>;

const LOOK_MS = 1_000;

/** Remembers since when each part is as it is: looks once a second, and whenever it is asked. */
export class HealthLog {
  readonly #since = new Map<string, { status: string; sinceMs: number }>();
  #cancel: () => void = () => {};

  constructor(
    private readonly scheduler: Scheduler,
    private readonly parts: () => Parts,
  ) {}

  start(): void {
    this.look();
    this.#cancel = this.scheduler.after(LOOK_MS, () => this.start());
  }

  stop(): void {
    this.#cancel();
  }

  look(): Record<string, PartHealth> {
    const nowMs = this.scheduler.nowMs();
    return Object.fromEntries(
      Object.entries(this.parts()).map(([name, part]) => {
        const known = this.#since.get(name);
        const sinceMs = known?.status === part.status ? known.sinceMs : nowMs;
        this.#since.set(name, { status: part.status, sinceMs });
        return [name, { ...part, sinceMs }];
      }),
    );
  }
}
