/** Decides which callers may use `/api/replication` and `replicated=true`. */
import { createHash, timingSafeEqual } from "node:crypto";

export interface GateOptions {
  /**
   * `SERV_CACHE_PEER_TOKEN`: callers with this token are admitted; null = callers on loopback and at the addresses of
   * the configured peers are.
   */
  readonly token: string | null;
  /** Host names or addresses of the configured peers. */
  readonly hosts: readonly string[];
  /** Resolves a host to its addresses. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+)$/;
/** A token may contain spaces. */
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

  /** Resolves the hosts again; a host that can't be resolved keeps its previous addresses. */
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

  /** `authorization`: the raw header. */
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

/** A digest of fixed length, so that the time of the comparison reveals nothing. */
function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
