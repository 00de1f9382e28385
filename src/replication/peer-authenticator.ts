/** Who may speak to `/api/replication`, and with `replicated=true`. */
import { createHash, timingSafeEqual } from "node:crypto";

export interface GateOptions {
  /** `SERV_CACHE_PEER_TOKEN`: whoever knows it may; null = loopback and the addresses of the configured peers may. */
  readonly token: string | null;
  /** Hosts of the configured peers: names or addresses. */
  readonly hosts: readonly string[];
  /** Addresses of a host. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+)$/;
/** A token may have spaces in it. */
const BEARER = /^bearer +(.*)$/i;
const MAPPED = "::ffff:";

export class PeerAuthenticator {
  readonly #options: GateOptions;
  readonly #tokenDigest: Buffer | null;
  #addresses: ReadonlySet<string> = new Set();

  constructor(options: GateOptions) {
    this.#options = options;
    this.#tokenDigest = options.token === null ? null : digestOf(options.token);
    this.#addresses = new Set(options.hosts);
  }

  /** Looks the hosts up again; a host that can't be found keeps the addresses that it had. */
  async refresh(): Promise<void> {
    const { hosts, resolve } = this.#options;
    if (this.#tokenDigest !== null) return;
    const found = await Promise.all(hosts.map((host) => resolve(host).catch(() => null)));
    if (found.some((addresses) => addresses === null)) {
      this.#addresses = new Set([...this.#addresses, ...found.flatMap((addresses) => addresses ?? [])]);
    } else {
      this.#addresses = new Set([...hosts, ...found.flatMap((addresses) => addresses ?? [])]);
    }
  }

  /** `authorization`: the header as it came. */
  admits(authorization: string | null, remoteAddress: string): boolean {
    if (this.#tokenDigest !== null) {
      const given = BEARER.exec(authorization ?? "")?.[1] ?? "";
      return timingSafeEqual(digestOf(given), this.#tokenDigest);
    }
    if (LOOPBACK.test(remoteAddress)) return true;
    const plain = remoteAddress.startsWith(MAPPED) ? remoteAddress.slice(MAPPED.length) : remoteAddress;
    return this.#addresses.has(plain);
  }
}

/** Of the same length whatever was given, so that comparing tells nothing. */
function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
