import type { PartHealth, PartState } from "../cache/operator-port.ts";
import type { Scheduler } from "../runtime/scheduler.ts";

/** Parts by their names. */
type Parts = Record<string, PartState>;

const LOOK_MS = 1_000;

/**
 * Remembers since when each part is as it is, and says when that changes: looks once a second, and whenever it is asked.
 */
export class HealthLog {
  readonly #since = new Map<string, { status: string; sinceMs: number }>();
  /** Parts of which it was said that they are not well. */
  readonly #said = new Set<string>();
  #cancel: () => void = () => {};

  constructor(
    private readonly scheduler: Scheduler,
    private readonly parts: () => Parts,
    /** Gets a line when a part is no longer well, and when it is again; what was so from the start is not new. */
    private readonly say: (message: string) => void,
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
        if (known !== undefined && known.status !== part.status) this.#tell(name, part);
        this.#since.set(name, { status: part.status, sinceMs });
        return [name, { ...part, sinceMs }];
      }),
    );
  }

  #tell(name: string, { status, detail }: PartState): void {
    if (status !== "ok") {
      this.#said.add(name);
      this.say(`${name}: ${status}: ${detail}`);
    } else if (this.#said.delete(name)) {
      this.say(`${name}: ok again`);
    }
  }
}
