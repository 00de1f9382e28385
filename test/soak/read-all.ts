/** What a node says that a key holds. */

import type { History, Operation } from "../support/history.ts";
import type { RawAnswer } from "../support/raw-client.ts";
import { SoakClient } from "./client.ts";

/** Reads every key once at one node: what a round ends in. Throws where a read fails. */
export async function readAll(history: History, node: string, port: number, keys: readonly string[]): Promise<void> {
  const client = new SoakClient(port);
  if (!(await client.connect())) throw new Error(`${node} does not listen`);
  for (const key of keys) {
    const read = history.begin({ client: "final", node, key, kind: "get", value: null });
    const answer = await client.call("GET", pathOf(key));
    if (!noteRead(history, read, answer)) throw new Error(`${node}: GET ${key}: ${answer.status} ${answer.body}`);
  }
  client.close();
}

/** False = the answer does not say what the key holds. */
export function noteRead(history: History, read: Operation, answer: RawAnswer): boolean {
  if (answer.status !== 200 && answer.status !== 404) return false;
  const value: unknown = answer.status === 200 ? JSON.parse(answer.body).value : null;
  if (value !== null && typeof value !== "number") return false;
  read.value = value;
  read.isStale = /detail=stale/.test(answer.headers.get("cache-status") ?? "");
  history.end(read, "ok");
  return true;
}

export function pathOf(key: string): string {
  return `/api/cache/${encodeURIComponent(key)}`;
}
