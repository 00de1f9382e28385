import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { RedisServer } from "./redis-server.ts";
import { eventually } from "./until.ts";

const SENTINELS = 3;
const DOWN_AFTER_MS = 500;

/** A primary and a replica, watched by three sentinels under the name `mymaster`. */
export class RedisSentinels {
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly #sentinels: readonly RedisServer[];
  readonly #folder: string;

  private constructor(
    servers: { primary: RedisServer; replica: RedisServer },
    sentinels: RedisServer[],
    folder: string,
  ) {
    this.primary = servers.primary;
    this.replica = servers.replica;
    this.#sentinels = sentinels;
    this.#folder = folder;
  }

  static async start(): Promise<RedisSentinels> {
    const folder = mkdtempSync(join(tmpdir(), "servcache-sentinel-"));
    const primary = await RedisServer.start();
    const replica = await RedisServer.start(["--replicaof", "127.0.0.1", String(primary.port)]);
    const sentinels: RedisServer[] = [];
    const all = new RedisSentinels({ primary, replica }, sentinels, folder);
    try {
      for (let i = 0; i < SENTINELS; i++) sentinels.push(await startSentinel(folder, i, primary.port));
      await all.#agree();
      return all;
    } catch (error) {
      await all.stop();
      throw error;
    }
  }

  get url(): string {
    return `redis+sentinel://${this.#sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/mymaster`;
  }

  /** Hangs the sentinels, not what they watch. */
  freeze(): void {
    for (const sentinel of this.#sentinels) sentinel.freeze();
  }

  thaw(): void {
    for (const sentinel of this.#sentinels) sentinel.thaw();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#sentinels, this.primary, this.replica].map((server) => server.stop()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Waits until every sentinel knows the replica and the other sentinels. */
  async #agree(): Promise<void> {
    for (const { port } of this.#sentinels) {
      const client = new Redis({ port });
      await eventually(async () => {
        const facts = String(await client.info("sentinel"));
        return facts.includes(`slaves=1,sentinels=${SENTINELS}`) && facts.includes("status=ok");
      });
      client.disconnect();
    }
  }
}

function startSentinel(folder: string, index: number, primaryPort: number): Promise<RedisServer> {
  const file = join(folder, `sentinel-${index}.conf`);
  const lines = [
    `sentinel monitor mymaster 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds mymaster ${DOWN_AFTER_MS}`,
    "sentinel failover-timeout mymaster 3000",
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  return RedisServer.startSentinel(file);
}
