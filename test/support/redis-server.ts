import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { redisProgram } from "./programs.ts";
import { eventually } from "./until.ts";

type ServerProcess = ReturnType<typeof Bun.spawn>;

/** A real server on a free port of 127.0.0.1, with a folder of its own. */
export class RedisServer {
  readonly port: number;
  readonly #args: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "servcache-redis-"));
  #process: ServerProcess | null = null;

  private constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.#args = args;
  }

  /** `{port}` in an argument is the server's own port. */
  static async start(args: readonly string[] = []): Promise<RedisServer> {
    const port = await freePort();
    const server = new RedisServer(
      port,
      args.map((arg) => arg.replaceAll("{port}", String(port))),
    );
    await server.up();
    return server;
  }

  /** A sentinel with its configuration file, which it rewrites. */
  static async startSentinel(configFile: string): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), [configFile, "--sentinel"]);
    await server.up();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get folder(): string {
    return this.#folder;
  }

  /** Starts the process, on the same port and folder as before, and waits until it listens. */
  async up(): Promise<void> {
    const own = ["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.#folder];
    const isSentinel = this.#args.includes("--sentinel");
    const args = isSentinel ? [...this.#args, ...own] : [...own, "--save", "", ...this.#args];
    this.#process = Bun.spawn([redisProgram, ...args], {
      stdout: Bun.file(join(this.#folder, "log")),
      stderr: "inherit",
    });
    const { exited } = this.#process;
    await eventually(async () => {
      if (this.#process?.exitCode !== null) throw new Error(`${redisProgram} ended with ${await exited}`);
      return isListening(this.port);
    });
  }

  /** SIGKILL; the data is gone with it. */
  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
  }

  /** Hangs the server: connections stay open, nothing is answered. */
  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    this.thaw();
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        if (typeof address === "object" && address !== null) resolve(address.port);
        else reject(new Error("no port"));
      });
    });
  });
}

async function isListening(port: number): Promise<boolean> {
  try {
    const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
    socket.end();
    return true;
  } catch {
    return false;
  }
}
