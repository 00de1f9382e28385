/** A database server of the tests' own: a child process that can be killed, stopped and started again on its port. */
import type { Subprocess } from "bun";
import { until } from "./until.ts";

export interface ServerProcessOptions {
  readonly command: readonly string[];
  readonly isReady: () => Promise<boolean>;
  readonly log: string;
  /** How the server is told to end without waiting for its clients. */
  readonly stopSignal: NodeJS.Signals;
}

export class ServerProcess {
  #child: Subprocess | null = null;

  constructor(private readonly options: ServerProcessOptions) {}

  async start(): Promise<void> {
    const { command, log, isReady } = this.options;
    const child = Bun.spawn([...command], { stdin: "ignore", stdout: Bun.file(log), stderr: Bun.file(log) });
    this.#child = child;
    await until(
      `${command[0]} answers`,
      async () => {
        if (child.exitCode !== null) throw new Error(`${command.join(" ")} ended: ${await Bun.file(log).text()}`);
        return isReady();
      },
      240_000,
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    child.kill("SIGCONT");
    child.kill(this.options.stopSignal);
    await child.exited;
    this.#child = null;
  }

  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.#child = null;
  }
}
