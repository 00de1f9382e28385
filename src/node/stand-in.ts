/** Stands in for the engine and the HTTP rooms until they are wired: answers every request with 200. */

import type { Config } from "../config/config.ts";

export interface HttpServer {
  readonly port: number;
  drain(graceMs: number): Promise<void>;
  stop(): void;
}

export type MemoryEngineHandle = SharedArrayBuffer;

export class MemoryEngine {
  readonly name = "memory";
  private constructor(readonly handle: MemoryEngineHandle) {}

  static create(_: { limitBytes: number; threads: number; clock: () => number }): MemoryEngine {
    return new MemoryEngine(new SharedArrayBuffer(8));
  }

  static attach(handle: MemoryEngineHandle, _thread: number): MemoryEngine {
    return new MemoryEngine(handle);
  }

  maintain(): number {
    return 100;
  }

  async close(): Promise<void> {}
}

interface ServerOptions {
  readonly hostname: string;
  readonly port: number;
  readonly reusePort: boolean;
  readonly onError: (error: unknown, traceId: string) => void;
  readonly engine: MemoryEngine;
  readonly config: Config;
}

export async function startHttpServer(options: ServerOptions): Promise<HttpServer> {
  const { hostname, port, reusePort } = options;
  let draining = false;
  const server = Bun.serve({
    hostname,
    port,
    reusePort,
    fetch: async () => {
      await Bun.sleep(5);
      return Response.json({ status: "ok" }, draining ? { headers: { Connection: "close" } } : {});
    },
    error: (error) => {
      options.onError(error, "");
      return new Response(null, { status: 500 });
    },
  });
  return {
    port: server.port ?? 0,
    drain: async () => {
      draining = true;
      await Bun.sleep(100);
      await server.stop();
    },
    stop: () => {
      server.stop(true);
    },
  };
}
