import type { DeadWrite, OperatorPort } from "../../cache/operator-port.ts";
import { ApiError } from "../transport/api-error.ts";
import type { ErrorCode } from "../transport/error-codes.ts";
import type { HttpResponse } from "../transport/exchange.ts";
import { sendJson } from "../transport/json-answer.ts";
import type { Query } from "./query.ts";

const DEFAULT_PAGE_LETTERS = 100;
const MAX_PAGE_LETTERS = 1_000;
const MAX_IDS = 1_000;
const WHOLE = /^[1-9]\d{0,14}$/;

/** The routes of dead letters: writes that the backend refuses permanently can be listed, retried or dropped. */
export class OutboxRoutes {
  constructor(
    private readonly upstream: OperatorPort | null,
    private readonly nowMs: () => number,
  ) {}

  /** `GET /api/outbox/dead?cursor=&limit=` */
  async list(query: Query, response: HttpResponse): Promise<void> {
    const limit = Number(whole(query.get("limit") || String(DEFAULT_PAGE_LETTERS), "limit", "ERR_BAD_LIMIT"));
    if (limit > MAX_PAGE_LETTERS) {
      throw new ApiError(400, "ERR_BAD_LIMIT", `limit is ${limit}: send a number from 1 to ${MAX_PAGE_LETTERS}`);
    }
    const cursor = query.get("cursor") || "0";
    const afterId = cursor === "0" ? 0 : Number(whole(cursor, "cursor", "ERR_BAD_CURSOR"));
    const letters = this.upstream === null ? [] : await this.upstream.deadLetters(afterId, limit);
    const next = letters.length < limit ? null : String(letters.at(-1)?.id);
    sendJson(response, 200, { dead: letters.map((letter) => this.shown(letter)), cursor: next });
  }

  /** `POST /api/outbox/dead?id=7,8` or `?all=true`: queues them again. */
  async retry(query: Query, response: HttpResponse): Promise<void> {
    const retried = (await this.upstream?.retryDead(idsOf(query))) ?? 0;
    sendJson(response, 200, { status: "success", retried });
  }

  /** `DELETE /api/outbox/dead?id=7,8` or `?all=true`: drops them. */
  async drop(query: Query, response: HttpResponse): Promise<void> {
    const dropped = (await this.upstream?.dropDead(idsOf(query))) ?? 0;
    sendJson(response, 200, { status: "success", dropped });
  }

  private shown({ id, key, kind, valueBytes, contentType, attempts, reason, queuedAtMs }: DeadWrite): unknown {
    return {
      id,
      key,
      kind,
      content_type: contentType,
      value_bytes: valueBytes,
      attempts,
      reason,
      queued_at: new Date(queuedAtMs).toISOString(),
      age_seconds: Math.max(0, Math.floor((this.nowMs() - queuedAtMs) / 1000)),
    };
  }
}

/** Null = all. It needs `all=true`, so that nothing is dropped by mistake. */
function idsOf(query: Query): readonly number[] | null {
  const ids = query.get("id");
  if (query.get("all") === "true" && ids === undefined) return null;
  const list = (ids ?? "").split(",");
  if (list.length > MAX_IDS || ids === undefined || query.has("all")) {
    throw new ApiError(400, "ERR_BAD_ID", `send ?id= with up to ${MAX_IDS} ids, separated by commas, or ?all=true`);
  }
  return list.map((id) => Number(whole(id, "id", "ERR_BAD_ID")));
}

function whole(text: string, name: string, code: ErrorCode): string {
  if (WHOLE.test(text)) return text;
  throw new ApiError(400, code, `${name} is ${JSON.stringify(text.slice(0, 40))}: send a whole number`);
}
