import { Redis } from "ioredis";
import { RedisServer } from "./redis-server.ts";
import { eventually } from "./until.ts";

const SLOT_COUNT = 16384;
const NODE_ARGS = [
  "--cluster-enabled",
  "yes",
  "--cluster-node-timeout",
  "1000",
  "--cluster-allow-replica-migration",
  "no",
  "--cluster-replica-validity-factor",
  "0",
];

/** A real cluster of three primaries and, if asked for, three replicas. */
export class RedisCluster {
  readonly nodes: RedisServer[];

  private constructor(nodes: RedisServer[]) {
    this.nodes = nodes;
  }

  /** @param options `isPartial`: with a primary lost, the others go on with their slots */
  static async start(options: { replicas: boolean; isPartial?: boolean }): Promise<RedisCluster> {
    const count = options.replicas ? 6 : 3;
    const args = options.isPartial ? [...NODE_ARGS, "--cluster-require-full-coverage", "no"] : NODE_ARGS;
    const started = await Promise.all(Array.from({ length: count }, () => RedisServer.start(args)));
    const cluster = new RedisCluster(started);
    try {
      await cluster.#form();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** One seed is enough. */
  get url(): string {
    return `redis://127.0.0.1:${this.nodes[1]?.port}`;
  }

  /** Runs a command on one node. */
  async run(node: RedisServer, command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis({ port: node.port, retryStrategy: null });
    client.on("error", () => {});
    try {
      return await client.call(command, args.map(String));
    } finally {
      client.disconnect();
    }
  }

  async idOf(node: RedisServer): Promise<string> {
    return String(await this.run(node, "CLUSTER", "MYID"));
  }

  /** The node that owns a slot, as `asked` knows it. */
  async ownerOf(slot: number, asked: RedisServer): Promise<RedisServer | undefined> {
    const ranges = await this.run(asked, "CLUSTER", "SLOTS");
    if (!Array.isArray(ranges)) return undefined;
    for (const range of ranges) {
      if (Number(range[0]) > slot || Number(range[1]) < slot) continue;
      return this.nodes.find((node) => node.port === Number(range[2][1]));
    }
    return undefined;
  }

  /** Another primary, which has no slots yet. */
  async add(): Promise<RedisServer> {
    const [known] = this.nodes;
    const added = await RedisServer.start(NODE_ARGS);
    this.nodes.push(added);
    await this.run(added, "CLUSTER", "MEET", "127.0.0.1", known?.port ?? 0);
    for (const node of this.nodes) {
      await eventually(async () => {
        const lines = String(await this.run(node, "CLUSTER", "NODES"))
          .trim()
          .split("\n");
        return lines.length === this.nodes.length && lines.every((line) => !line.includes("handshake"));
      });
    }
    await eventually(async () => /cluster_state:ok/.test(String(await this.run(added, "CLUSTER", "INFO"))));
    return added;
  }

  /**
   * Moves a slot with its keys from one primary to another, as `redis-cli --cluster reshard` does, and waits until all nodes
   * agree about it. One that takes over the next slot before it has heard of the newest epoch would claim it with an older
   * one: then it and the former owner send clients to each other for ever.
   */
  async moveSlot(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
    const [fromId, toId] = await Promise.all([this.idOf(from), this.idOf(to)]);
    await this.run(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
    await this.run(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
    for (;;) {
      const keys = await this.run(from, "CLUSTER", "GETKEYSINSLOT", slot, 10);
      if (!Array.isArray(keys) || keys.length === 0) break;
      await this.run(from, "MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", ...keys.map(String));
    }
    await this.run(to, "CLUSTER", "SETSLOT", slot, "NODE", toId);
    await this.run(from, "CLUSTER", "SETSLOT", slot, "NODE", toId);
    await eventually(async () => new Set(await Promise.all(this.nodes.map((node) => this.#layoutOf(node)))).size === 1);
    if ((await this.ownerOf(slot, from)) !== to) throw new Error(`slot ${slot} is not where it was moved`);
  }

  /** Each primary with its epoch and its slots, as `asked` knows them. */
  async #layoutOf(asked: RedisServer): Promise<string> {
    const lines = String(await this.run(asked, "CLUSTER", "NODES"))
      .trim()
      .split("\n");
    const fields = lines.map((line) => line.split(" ")).filter((parts) => parts[2]?.includes("master"));
    return fields
      .map((parts) => `${parts[0]} ${parts[6]} ${parts.slice(8).join(" ")}`)
      .toSorted()
      .join("\n");
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  async #form(): Promise<void> {
    const [first, ...others] = this.nodes;
    if (first === undefined) return;
    for (const [index, node] of this.nodes.slice(0, 3).entries()) {
      const from = Math.floor((index * SLOT_COUNT) / 3);
      const to = Math.floor(((index + 1) * SLOT_COUNT) / 3) - 1;
      await this.run(node, "CLUSTER", "ADDSLOTSRANGE", from, to);
      await this.run(node, "CLUSTER", "SET-CONFIG-EPOCH", index + 1);
    }
    for (const node of others) await this.run(node, "CLUSTER", "MEET", "127.0.0.1", first.port);
    for (const [index, node] of this.nodes.entries()) {
      await eventually(
        async () =>
          String(await this.run(node, "CLUSTER", "NODES"))
            .trim()
            .split("\n").length === this.nodes.length,
      );
      const primary = this.nodes[index - 3];
      if (primary === undefined) continue;
      const id = await this.idOf(primary);
      await eventually(() =>
        this.run(node, "CLUSTER", "REPLICATE", id).then(
          () => true,
          () => false,
        ),
      );
    }
    for (const node of this.nodes) {
      await eventually(async () => /cluster_state:ok/.test(String(await this.run(node, "CLUSTER", "INFO"))));
      await eventually(
        async () => !/master_link_status:down/.test(String(await this.run(node, "INFO", "replication"))),
      );
    }
  }
}
