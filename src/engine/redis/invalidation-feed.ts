import type { Redis } from "ioredis";
import type { RedisClient } from "./client.ts";
import type { RedisEngineOptions } from "./options.ts";
import type { RedisAddress } from "./redis-url.ts";
import { openSubscriber } from "./topology.ts";

interface FeedOptions {
  readonly client: RedisClient;
  readonly connection: RedisEngineOptions;
  /** Called with the names of changed keys. */
  readonly onChanged: (names: Buffer[]) => void;
  /** Called when everything may have changed: a server was flushed, or a link was lost. */
  readonly onLost: () => void;
  /** Called repeatedly while all links are up. */
  readonly onComplete: () => void;
}

const CHANNEL = "__redis__:invalidate";
/** Interval in which links are checked and missing ones opened. */
const CHECK_MS = 250;
const REOPEN_MS = 50;

/**
 * Receives from every primary the keys that change, by Redis' client-side caching in broadcast mode
 * (https://redis.io/docs/latest/develop/reference/client-side-caching/).
 *
 * ioredis does not pass RESP3's invalidation pushes to its users, so each link is a RESP2 connection that redirects its
 * own tracking to itself as messages. Tracking and link are one connection, so they can only be lost together.
 */
export class InvalidationFeed {
  readonly #options: FeedOptions;
  readonly #links = new Map<string, Link>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    void this.#check();
  }

  /** Whether changes are received from every primary that commands are sent to. */
  get isComplete(): boolean {
    try {
      const addresses = this.#options.client.primaryAddresses();
      return addresses.every((address) => this.#links.get(textOf(address))?.isUp === true);
    } catch {
      return false;
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  async #check(): Promise<void> {
    const wanted = this.#wantedAddresses();
    for (const [name, link] of this.#links) {
      if (!wanted.has(name) || link.isLost) this.#drop(name, link);
    }
    for (const [name, address] of wanted) {
      if (!this.#links.has(name)) this.#links.set(name, this.#open(address));
    }
    await Promise.all([...this.#links.values()].map((link) => link.beat()));
    const { isComplete } = this;
    if (isComplete) this.#options.onComplete();
    if (!this.#closed) this.#timer = setTimeout(() => void this.#check(), isComplete ? CHECK_MS : REOPEN_MS);
  }

  #wantedAddresses(): Map<string, RedisAddress> {
    try {
      return new Map(this.#options.client.primaryAddresses().map((address) => [textOf(address), address]));
    } catch {
      return new Map();
    }
  }

  #open(address: RedisAddress): Link {
    const { connection, onChanged, onLost } = this.#options;
    return new Link(openSubscriber(connection, address), connection, { onChanged, onLost, onUp: this.#announce });
  }

  readonly #announce = (): void => {
    if (!this.#closed && this.isComplete) this.#options.onComplete();
  };

  #drop(name: string, link: Link): void {
    this.#links.delete(name);
    link.close();
  }
}

type LinkEvents = Pick<FeedOptions, "onChanged" | "onLost"> & { readonly onUp: () => void };

/** One connection to one primary. Once lost, it is not reopened. */
class Link {
  readonly #subscriber: Redis;
  readonly #events: LinkEvents;
  readonly #timeoutMs: number;
  #state: "opening" | "up" | "lost" = "opening";

  constructor(subscriber: Redis, { prefix, commandTimeoutMs }: RedisEngineOptions, events: LinkEvents) {
    this.#subscriber = subscriber;
    this.#events = events;
    this.#timeoutMs = commandTimeoutMs;
    subscriber.on("error", () => {});
    subscriber.once("close", () => this.#lose());
    subscriber.on("messageBuffer", (_channel: Buffer, message: unknown) => this.#hear(message));
    void this.#open(prefix);
  }

  get isUp(): boolean {
    return this.#state === "up";
  }

  get isLost(): boolean {
    return this.#state === "lost";
  }

  /** Sends a heartbeat. Resolves when it is answered, or when the link is lost. */
  async beat(): Promise<void> {
    if (this.#state !== "up") return;
    const timer = setTimeout(() => this.#lose(), this.#timeoutMs);
    try {
      await this.#subscriber.ping();
    } catch {
      this.#lose();
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#lose();
  }

  async #open(prefix: string): Promise<void> {
    const subscriber = this.#subscriber;
    try {
      await subscriber.connect();
      const id = await subscriber.client("ID");
      const scope = prefix === "" ? [] : ["PREFIX", prefix];
      await subscriber.call("CLIENT", ["TRACKING", "ON", "REDIRECT", String(id), "BCAST", ...scope]);
      await subscriber.subscribe(CHANNEL);
      if (this.#state !== "opening") return;
      this.#state = "up";
      this.#events.onUp();
    } catch {
      this.#lose();
    }
  }

  #hear(message: unknown): void {
    if (Array.isArray(message)) this.#events.onChanged(message.filter((name) => Buffer.isBuffer(name)));
    else this.#events.onLost();
  }

  #lose(): void {
    if (this.#state === "lost") return;
    const wasUp = this.#state === "up";
    this.#state = "lost";
    this.#subscriber.disconnect();
    if (wasUp) this.#events.onLost();
  }
}

function textOf({ host, port }: RedisAddress): string {
  return `${host}:${port}`;
}
