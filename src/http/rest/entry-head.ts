import type { LoadState } from "../../cache/cache.ts";
import { NO_STORE } from "../transport/json-answer.ts";
import { writeDecimal } from "../transport/response-head.ts";

/** Room for the longest content type, and for what stands around it. */
const HEAD_BYTES = 1024;
const CR = 0x0d;
const LF = 0x0a;

/** The state of an entry that the cache had. */
export const HIT = null;

/** The TTL of an entry that never expires. */
export const NO_TTL = -1;

/**
 * What others may do with an answer. `no-cache`: keep it, and ask for each use whether it still holds; `max-age`: use it
 * until the entry expires, deleted or not (`SERV_CACHE_HTTP_MAX_AGE`); `no-store`: nothing, for answers to mutations.
 */
export type CachePolicy = "no-cache" | "max-age" | "no-store";

/**
 * The headers of an answer with an entry, as bytes: those of its type, `Cache-Control`, and `Cache-Status` (RFC 9211).
 * They are written anew only where they differ from those of the answer before; nearly always that is in the seconds
 * that are left.
 */
export class EntryHead {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(HEAD_BYTES);
  length = 0;
  private headers = "";
  private state: LoadState | null = HIT;
  private ttlSeconds = NO_TTL;
  private ttlStart = 0;

  constructor(private readonly policy: CachePolicy) {}

  /**
   * @param headers of the type
   * @param ttlSeconds what is left of the entry's life, from 0, or `NO_TTL`
   * @param state how the entry was loaded, or `HIT`
   */
  set(headers: string, ttlSeconds: number, state: LoadState | null): void {
    const isSame = headers === this.headers && state === this.state && this.length > 0;
    if (isSame && ttlSeconds === this.ttlSeconds) return;
    const isNear = isSame && this.policy === "no-cache" && ttlSeconds >= 0 && this.ttlSeconds >= 0;
    if (isNear && state === HIT) this.endWith(ttlSeconds);
    else this.write(headers, ttlSeconds, state);
    this.headers = headers;
    this.state = state;
    this.ttlSeconds = ttlSeconds;
  }

  /** The same as text, for answers without a body. */
  get text(): string {
    return this.bytes.latin1Slice(0, this.length);
  }

  private write(headers: string, ttlSeconds: number, state: LoadState | null): void {
    const { bytes } = this;
    if (this.policy === "no-store") {
      this.length = bytes.latin1Write(`${headers}${NO_STORE}`, 0);
      return;
    }
    const status = `${headers}${this.cacheControl(ttlSeconds, state)}Cache-Status: ServCache; ${statusOf(state)}`;
    if (state === HIT && ttlSeconds >= 0) {
      this.ttlStart = bytes.latin1Write(`${status}; ttl=`, 0);
      this.endWith(ttlSeconds);
    } else this.length = bytes.latin1Write(`${status}\r\n`, 0);
  }

  private cacheControl(ttlSeconds: number, state: LoadState | null): string {
    // Without an expiry it may change at any time all the same, and a cache would guess how long it may keep it.
    if (this.policy === "no-cache" || ttlSeconds < 0) return "Cache-Control: no-cache\r\n";
    return `Cache-Control: max-age=${state?.isStale === true ? 0 : ttlSeconds}\r\n`;
  }

  private endWith(ttlSeconds: number): void {
    const { bytes } = this;
    const end = writeDecimal(bytes, this.ttlStart, ttlSeconds);
    bytes[end] = CR;
    bytes[end + 1] = LF;
    this.length = end + 2;
  }
}

function statusOf(state: LoadState | null): string {
  if (state === HIT) return "hit";
  if (state.isStale) return "hit; detail=stale-if-error";
  return `fwd=uri-miss${state.isStored ? "; stored" : ""}${state.isCollapsed ? "; collapsed" : ""}`;
}
