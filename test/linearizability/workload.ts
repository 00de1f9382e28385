/** Clients that read, write, delete and clear a few keys of a running node at once, and record what they see. */
import { History, type Operation } from "../support/history.ts";
import { callsOf, type NodeAnswer, type NodeCalls } from "../support/node-calls.ts";

const NODE = "node";

export interface WorkloadOptions {
  readonly port: number;
  /** Calls of all clients together. */
  readonly operations: number;
  readonly clients: number;
  /** Keys that are in use at the same time. A key makes way for a new one after `callsPerKey`. */
  readonly keys: number;
  readonly callsPerKey: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Told after each call how many there were. */
  readonly onCall?: (calls: number) => void;
}

/** Of values that are large: so that entries have to make room for each other. */
const PADDING_BYTES = 24_000;
/** Refused, or not there: nothing was changed. */
const NO_CHANGE = new Set([400, 404, 412, 413]);

/** Runs until all calls are made. Throws for an answer that no call of it may have. */
export async function runWorkload(options: WorkloadOptions): Promise<History> {
  const history = new History(() => performance.now());
  const calls = callsOf(options.port);
  const made = { calls: 0 };
  const clients = Array.from({ length: options.clients }, (_, client) =>
    runClient(`${client}`, calls, history, made, options),
  );
  await Promise.all(clients);
  return history;
}

async function runClient(
  client: string,
  calls: NodeCalls,
  history: History,
  made: { calls: number },
  { operations, keys, callsPerKey, random, onCall }: WorkloadOptions,
): Promise<void> {
  while (made.calls < operations) {
    made.calls += 1;
    onCall?.(made.calls);
    const generation = Math.floor(made.calls / (keys * callsPerKey));
    const key = `k${Math.floor(random() * keys)}:${generation}`;
    const what = random();
    if (what < 0.55) await read(client, key, calls, history);
    else if (what < 0.9) await write(client, key, calls, history, random() < 0.1);
    else await remove(client, key, calls, history);
    // Reads and then writes of one client are what a stamp of its own, and late, is found by.
    if (random() < 0.3) {
      made.calls += 2;
      await read(client, key, calls, history);
      await write(client, key, calls, history, false);
    }
  }
}

async function read(client: string, key: string, calls: NodeCalls, history: History): Promise<void> {
  const operation = history.begin({ client, node: NODE, key, kind: "get", value: null });
  const answer = await answerOf(() => calls.get(key));
  if (answer === null || answer.status >= 500) return;
  if (answer.status !== 404) operation.value = Number(String(JSON.parse(answer.text).value).split(" ")[0]);
  history.end(operation, "ok");
}

async function write(client: string, key: string, calls: NodeCalls, history: History, isLarge: boolean): Promise<void> {
  const value = history.nextValue();
  const text = isLarge ? `${value} ${"x".repeat(PADDING_BYTES)}` : `${value}`;
  const operation = history.begin({ client, node: NODE, key, kind: "put", value });
  conclude(history, operation, await answerOf(() => calls.put(key, text)));
}

async function remove(client: string, key: string, calls: NodeCalls, history: History): Promise<void> {
  const operation = history.begin({ client, node: NODE, key, kind: "delete", value: null });
  conclude(history, operation, await answerOf(() => calls.remove(key)));
}

function conclude(history: History, operation: Operation, answer: NodeAnswer | null): void {
  if (answer === null) history.unknown(operation, "no answer");
  else if (answer.status >= 500) history.unknown(operation, `${answer.status} ${answer.code}`);
  else if (answer.status < 300) history.end(operation, "ok");
  else if (NO_CHANGE.has(answer.status)) history.end(operation, "refused");
  else throw new Error(`a write was answered ${answer.status}`);
}

/** Null = the connection was lost. */
async function answerOf<T>(call: () => Promise<T>): Promise<T | null> {
  try {
    return await call();
  } catch {
    return null;
  }
}
