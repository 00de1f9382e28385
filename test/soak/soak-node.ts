/** A real node on one port and one data directory, which can be killed, stopped, frozen, and told another time. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { quietPort } from "../support/free-port.ts";
import { callsOf } from "../support/node-calls.ts";
import { type ServedNode, serve } from "../support/serve.ts";
import { until } from "../support/until.ts";
import { between, type Fault, type SoakNode, type WorldOptions } from "./world.ts";

/** Where Debian puts libfaketime, by architecture. */
const FAKETIME = new Bun.Glob("usr/lib/*/faketime/libfaketime.so.1");

/** How the fault's name ends that sets a clock an hour forth or back. */
export const IN_ANOTHER_HOUR = " in another hour";

/** How long a node may take until it is well again, in ms. */
const RECOVERY_LIMIT_MS = 90_000;

export interface RealNodeOptions extends WorldOptions {
  readonly name: string;
  readonly flags: readonly string[];
  readonly folder: string;
  /** A port that the other nodes know already; left out = a free one. */
  readonly port?: number;
}

export class RealNode implements SoakNode {
  readonly name: string;
  readonly port: number;
  startedMs = 0;
  readonly #options: RealNodeOptions;
  readonly #clockFile: string;
  #process: ServedNode | null = null;

  private constructor(options: RealNodeOptions) {
    this.#options = options;
    this.name = options.name;
    this.port = options.port ?? quietPort();
    this.#clockFile = join(options.folder, `clock-${options.name}`);
  }

  static async start(options: RealNodeOptions): Promise<RealNode> {
    const node = new RealNode(options);
    await node.start();
    return node;
  }

  /** Whether this machine can tell a process another time. */
  static readonly hasClock = libFaketime() !== null;

  async start(): Promise<void> {
    const { folder, flags, name, nowMs } = this.#options;
    const directory = join(folder, `data-${name}`);
    const clock = libFaketime();
    if (clock !== null) this.setClock(0);
    const env: Record<string, string> =
      clock === null
        ? {}
        : {
            LD_PRELOAD: clock,
            FAKETIME_TIMESTAMP_FILE: this.#clockFile,
            FAKETIME_CACHE_DURATION: "1",
            FAKETIME_DONT_FAKE_MONOTONIC: "1",
          };
    this.startedMs = nowMs();
    this.#process = await serve([`--addr=127.0.0.1:${this.port}`, `--data-dir=${directory}`, ...flags], env);
  }

  /** The node's wall clock, in seconds apart from the machine's. It follows within a second. */
  setClock(seconds: number): void {
    writeFileSync(this.#clockFile, `${seconds < 0 ? "-" : "+"}${Math.abs(seconds)}s`);
  }

  signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#process?.signal(signal);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#process?.finished();
    this.#process = null;
  }

  /** Throws where the node does not end with 0. */
  async stop(): Promise<void> {
    this.signal("SIGTERM");
    const ended = await this.#process?.finished();
    this.#process = null;
    if (ended !== undefined && ended.exitCode !== 0) {
      throw new Error(`${this.name} ended with ${ended.exitCode} after SIGTERM: ${ended.stderr}`);
    }
  }

  /** Waits until `/health` is ok and nothing waits in the outbox. */
  async settle(): Promise<void> {
    const calls = callsOf(this.port);
    let seen = "";
    try {
      await until(
        `${this.name} is well`,
        async () => {
          try {
            const [health, stats] = await Promise.all([calls.json("/health"), calls.json("/api/stats")]);
            seen = JSON.stringify({ health, outbox: stats.outbox });
            return health.status === "ok" && pendingOf(stats) === 0;
          } catch (error) {
            seen = String(error);
            return false;
          }
        },
        RECOVERY_LIMIT_MS,
      );
    } catch (cause) {
      throw new Error(`${this.name} does not recover: ${seen}`, { cause });
    }
  }

  /** What may happen to any node. */
  faults({ random }: WorldOptions): Fault[] {
    const { name } = this;
    const lifetimes: Fault[] = [
      {
        name: `${name} killed`,
        run: async () => {
          await this.kill();
          await this.start();
        },
      },
      {
        name: `${name} stopped`,
        run: async () => {
          await this.stop();
          await this.start();
        },
      },
      {
        name: `${name} frozen`,
        run: async () => {
          this.signal("SIGSTOP");
          await Bun.sleep(between(random, 200, 2_500));
          this.signal("SIGCONT");
        },
      },
    ];
    if (!RealNode.hasClock) return lifetimes;
    return [
      ...lifetimes,
      {
        name: name + IN_ANOTHER_HOUR,
        run: async () => {
          this.setClock(random() < 0.5 ? 3_600 : -3_600);
          await Bun.sleep(between(random, 1_500, 4_000));
          this.setClock(0);
        },
      },
    ];
  }
}

function pendingOf(stats: { outbox?: { queues: Record<string, { pending: number }> } }): number {
  return Object.values(stats.outbox?.queues ?? {}).reduce((sum, { pending }) => sum + pending, 0);
}

function libFaketime(): string | null {
  if (!existsSync("/usr/lib")) return null;
  const found = FAKETIME.scanSync({ cwd: "/", absolute: true, followSymlinks: false }).next();
  return found.done ? null : found.value;
}
