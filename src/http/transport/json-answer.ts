import type { HttpResponse } from "./exchange.ts";

/** The header of every answer that is not an entry: it describes this moment, so it must not be cached. */
export const NO_STORE = "Cache-Control: no-store\r\n";

export const JSON_HEADERS = `Content-Type: application/json\r\n${NO_STORE}`;

export function sendJson(response: HttpResponse, status: number, body: unknown): void {
  response.sendText(status, JSON_HEADERS, JSON.stringify(body));
}
