import type { LoadState } from "../../cache/backing-store.ts";
import { NO_STORE } from "../transport/json-answer.ts";
import { writeDecimal } from "../transport/response-head.ts";

/** Room for the longest content type and the text around it. */
const HEAD_BYTES = 1024;
const CR = 0x0d;
const LF = 0x0a;

/** The load state of an entry that was in the cache. */
export const HIT = null;

/** The TTL of an entry that never expires. */
export const NO_TTL = -1;

/**
 * How caches may use an answer. `no-cache`: store it, and revalidate it before each use; `max-age`: use it until the
 * entry expires, even if it is deleted (`SERV_CACHE_HTTP_MAX_AGE`); `no-store`: not at all, for answers to mutations.
 */
export type CachePolicy = "no-cache" | "max-age" | "no-store";

/**
 * The headers of an answer with an entry, as bytes: those of its type, `Cache-Control`, and `Cache-Status` (RFC 9211).
 * They are rebuilt only if they differ from those of the previous answer, which is nearly always only in the remaining
 * seconds.
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
   * @param headers the headers of the type @param ttlSeconds the remaining TTL, from 0, or `NO_TTL` @param state how
   * the entry was loaded, or `HIT`
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
    // An entry without a TTL can also change at any time, and a cache would guess how long to keep it.
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
