/** A node before a real database, a workload on it, and the verdict. */
import { startMariaDb } from "../support/mariadb.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { randomOf } from "../support/random.ts";
import { serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { type Violation, violations } from "./checker.ts";
import { registerOperations } from "./history.ts";
import { runWorkload } from "./workload.ts";

export interface RunOptions {
  readonly database: "postgres" | "mariadb";
  readonly writeMode: "behind" | "through";
  readonly operations: number;
  readonly clients: number;
  readonly workers: number;
  /** Restarts of the database, spread over the run. */
  readonly restarts: number;
  readonly seed: number;
  /** Told now and then how many calls were made. */
  readonly onProgress?: (calls: number) => void;
}

export interface RunResult {
  readonly operations: number;
  readonly unknown: number;
  /** Of unknown outcomes: what was answered, and how often. */
  readonly reasons: ReadonlyMap<string, number>;
  readonly violations: readonly Violation[];
}

const KEYS = 40;
const CALLS_PER_KEY = 600;
const PROGRESS_EVERY = 50_000;

export function startDatabase(database: RunOptions["database"]): Promise<TestServer> {
  return database === "postgres" ? startPostgres(["fsync=off"]) : startMariaDb();
}

/** The node is started with `serve`: whoever calls ends it with `endServed`. */
export async function runOn(server: TestServer, table: string, options: RunOptions): Promise<RunResult> {
  using folder = tempFolder();
  const node = await serve(
    [
      ...[
        "--addr=127.0.0.1:0",
        `--workers=${options.workers}`,
        `--data-dir=${folder.path}`,
        `--backend-db=${server.url}`,
      ],
      ...[`--backend-table=${table}`, "--backend-delete=true", `--write-mode=${options.writeMode}`],
      // Entries are evicted all the time, and what is evicted is read from the database.
      ...["--entry-memory=4MiB", "--write-behind-delay=5ms", "--negative-ttl=50ms"],
    ],
    { SERV_CACHE_BACKEND_WRITE_TIMEOUT: "1s", SERV_CACHE_BACKEND_TIMEOUT: "1s" },
  );
  const every = Math.ceil(options.operations / (options.restarts + 1));
  let restarts = 0;
  let restarting = Promise.resolve();
  const history = await runWorkload({
    ...{ port: node.port, operations: options.operations, clients: options.clients },
    ...{ keys: KEYS, callsPerKey: CALLS_PER_KEY, random: randomOf(options.seed) },
    onCall(calls) {
      if (calls % PROGRESS_EVERY === 0) options.onProgress?.(calls);
      if (restarts === options.restarts || calls < every * (restarts + 1)) return;
      restarts += 1;
      restarting = restarting.then(() => server.process.stop()).then(() => server.process.start());
    },
  });
  await restarting;
  node.signal("SIGKILL");
  await node.finished();
  const operations = registerOperations(history.operations);
  return {
    operations: operations.length,
    unknown: operations.filter(({ outcome }) => outcome === "unknown").length,
    reasons: history.reasons,
    violations: violations(operations, { evicts: false }),
  };
}
