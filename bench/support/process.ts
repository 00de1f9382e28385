import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

/** Where servers run, and where load comes from: apart, so that neither takes the other's time. */
export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

const CLOCK_TICKS_PER_SECOND = 100;
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 20;

export interface StartOptions {
  readonly name: string;
  readonly command: readonly string[];
  /** The core that the process and all its threads are pinned to; null = none. */
  readonly core: number | null;
  readonly env?: Readonly<Record<string, string>>;
  /** The process counts as started when this port of 127.0.0.1 takes connections, if nothing else is said. */
  readonly port: number;
  readonly isReady?: () => Promise<boolean>;
}

/** A server that a benchmark started. */
export class ServerProcess {
  constructor(
    readonly name: string,
    readonly port: number,
    readonly process: Bun.Subprocess,
  ) {}

  /** CPU seconds (user and system) that the process, its threads and its living descendants have used so far. */
  cpuSeconds(): number {
    return sum(processTree(this.process.pid).map((pid) => cpuTicks(pid))) / CLOCK_TICKS_PER_SECOND;
  }

  /** Milliseconds that its threads were ready to run and had no core, since they began: what neighbours cost it. */
  waitedForCoreMs(): number {
    return sum(processTree(this.process.pid).map(waitedForCoreMs));
  }

  /** Resident memory of the process and its descendants. */
  residentBytes(): number {
    return sum(processTree(this.process.pid).map((pid) => residentBytes(pid)));
  }

  /** The most resident memory that the process itself has had. */
  peakResidentBytes(): number {
    const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readOr(`/proc/${this.process.pid}/status`))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  }

  /** SIGTERM, and SIGKILL if that doesn't help. */
  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill("SIGTERM");
    const timer = setTimeout(() => this.process.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.process.exited;
    clearTimeout(timer);
  }
}

/** The processes and the folder of one benchmark. All is stopped and removed at its end, however it ends. */
export class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), "servcache-bench-"));
  readonly #servers: ServerProcess[] = [];

  /** Throws if the process ends or doesn't listen within 20 s; the message holds what it wrote. */
  async start(options: StartOptions): Promise<ServerProcess> {
    const logPath = join(this.folder, `${options.name}-${options.port}.log`);
    const child = Bun.spawn(pinned(options.command, options.core), {
      env: { ...process.env, ...options.env },
      stdin: "ignore",
      stdout: Bun.file(logPath),
      stderr: Bun.file(`${logPath}.err`),
    });
    const server = new ServerProcess(options.name, options.port, child);
    this.#servers.push(server);
    const deadlineMs = Date.now() + START_TIMEOUT_MS;
    const isReady = options.isReady ?? (() => accepts(options.port));
    while (!(await isReady())) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadlineMs) {
        const said = `${readOr(logPath)}${readOr(`${logPath}.err`)}`.trim().slice(-600);
        throw new Error(`${options.name} did not start (${options.command.join(" ")}): ${said}`);
      }
      await Bun.sleep(POLL_MS);
    }
    return server;
  }

  async close(): Promise<void> {
    for (const server of this.#servers.reverse()) await server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs a benchmark and stops what it started, also on an error, SIGINT or SIGTERM. */
export async function withBench(body: (bench: Bench) => Promise<void>): Promise<void> {
  const bench = new Bench();
  const interrupted = () => void bench.close().finally(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  try {
    await body(bench);
  } finally {
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
    await bench.close();
  }
}

/** The command, pinned to a core where the machine has that core and `taskset`. */
export function pinned(command: readonly string[], core: number | null): string[] {
  return core === null || !canPin(core) ? [...command] : ["taskset", "-c", String(core), ...command];
}

/** Pins this process, with all its threads, under the same conditions. */
export function pinSelf(core: number): void {
  if (canPin(core)) Bun.spawnSync(["taskset", "-acp", String(core), String(process.pid)]);
}

function canPin(core: number): boolean {
  return cpus().length > core && Bun.which("taskset") !== null;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The process and all its descendants, as /proc shows them now. */
function processTree(rootPid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statFields(Number(name))[1]);
    if (!Number.isNaN(parent)) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const tree = [rootPid];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/** CPU seconds (user and system) of one process. */
export function cpuSecondsOf(pid: number): number {
  return cpuTicks(pid) / CLOCK_TICKS_PER_SECOND;
}

function cpuTicks(pid: number): number {
  const fields = statFields(pid);
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
}

/** As the second field of each thread's schedstat says (ns); 0 where the kernel doesn't count it. */
export function waitedForCoreMs(pid: number): number {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return 0;
  }
  const waitsNs = threads.map((thread) => Number(readOr(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[1] ?? 0));
  return sum(waitsNs) / 1e6;
}

/** The same of the thread that calls. */
export function threadWaitedForCoreMs(): number {
  return Number(readOr("/proc/thread-self/schedstat").split(" ")[1] ?? 0) / 1e6;
}

/** VmRSS of one process; 0 where it is gone. */
export function residentBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readOr(`/proc/${pid}/status`))?.[1];
  return Number(kibibytes ?? 0) * 1024;
}

/** The fields of /proc/PID/stat from the third (state) on: the name before it may hold spaces. */
function statFields(pid: number): string[] {
  const stat = readOr(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
