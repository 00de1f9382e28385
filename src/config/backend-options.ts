/** The options of the database behind the cache, and of the outbox. */

import { parseByteSize } from "./byte-size.ts";
import { type Option, within } from "./option.ts";
import { booleanOption, durationOption, numberOption, sizeOption, textOption, wordOption } from "./option-kinds.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const TIB = 1024 ** 4;
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const MAX_NODE_ID = 2 ** 32 - 1;

const backendUrl: Option<string | null> = {
  ...textOption(
    {
      env: "SERV_CACHE_BACKEND_DB",
      flag: "backend-db",
      meaning: "the database behind the cache: misses are loaded from it, writes reach it in the background",
    },
    "URL",
    "off",
  ),
  expected:
    "a URL such as https://host/path, postgres://user:password@host/db, mysql://host/db or sqlite:/path/file.db",
  parse: (given) => (/^(https?|postgres|postgresql|mysql|mysql2|mariadb|sqlite):/i.test(given) ? given : undefined),
};

const backendTable: Option<string> = {
  env: "SERV_CACHE_BACKEND_TABLE",
  flags: ["backend-table"],
  placeholder: "NAME",
  meaning: "the table that holds the entries; created if it is missing",
  defaultText: "servcache_entries",
  defaultValue: () => "servcache_entries",
  expected: "the name of a table, with or without its schema, such as cache.entries",
  parse: (given) => (given === "" ? undefined : given),
};

const backendReadSql = textOption(
  {
    env: "SERV_CACHE_BACKEND_READ_SQL",
    flag: "backend-read-sql",
    meaning: "your own query for the value of :key (or of its parts :1, :2 …), instead of the table",
  },
  "SQL",
);

const backendWriteSql = textOption(
  {
    env: "SERV_CACHE_BACKEND_WRITE_SQL",
    flag: "backend-write-sql",
    meaning: "your own statement that stores :value under :key; it may use :version and :content_type",
  },
  "SQL",
);

const backendDeleteSql = textOption(
  {
    env: "SERV_CACHE_BACKEND_DELETE_SQL",
    flag: "backend-delete-sql",
    meaning: "your own statement that deletes :key",
  },
  "SQL",
);

const backendKeys: Option<readonly string[]> = {
  env: "SERV_CACHE_BACKEND_KEYS",
  flags: ["backend-keys"],
  placeholder: "GLOBS",
  meaning: "keys that are loaded from and written to the database: globs, separated by commas",
  defaultText: "all",
  defaultValue: () => [],
  expected: "globs separated by commas, such as user:*,order:*",
  parse: (given) => {
    const globs = given.split(",").map((glob) => glob.trim());
    return globs.some((glob) => glob === "" || Buffer.byteLength(glob) > 1024) ? undefined : globs;
  },
};

const backendDelete = booleanOption(
  {
    env: "SERV_CACHE_BACKEND_DELETE",
    flag: "backend-delete",
    meaning: "true = deletes from the cache also delete from the database",
  },
  false,
);

const backendCaFile = textOption(
  {
    env: "SERV_CACHE_BACKEND_CA",
    flag: "backend-ca",
    meaning: "PEM file of the authorities that sign the certificate of the database",
  },
  "FILE",
  "the system's",
);

const backendBatchPath: Option<string | null> = {
  ...textOption(
    {
      env: "SERV_CACHE_BACKEND_BATCH_PATH",
      flag: "backend-batch-path",
      meaning: "path below the URL of an HTTP backend that accepts many writes in one POST; see the guide for its form",
    },
    "PATH",
  ),
  expected: "a path that begins with a slash such as /batch",
  parse: (given) => (/^\/[\w./~-]{1,200}$/.test(given) ? given : undefined),
};

const backendHtml = booleanOption(
  {
    env: "SERV_CACHE_BACKEND_HTML",
    flag: "backend-html",
    meaning: "true accepts text/html of an HTTP backend as a value; false treats it as the error page of a proxy",
  },
  false,
);

const backendTimeoutMs = durationOption(
  {
    env: "SERV_CACHE_BACKEND_TIMEOUT",
    flag: "backend-timeout",
    meaning: "how long a load may take, including the wait for a connection",
  },
  [SECOND_MS, "1s"],
  { minMs: 1, maxMs: MINUTE_MS, range: "from 1ms to 1m such as 500ms" },
);

const backendWriteTimeoutMs = durationOption(
  {
    env: "SERV_CACHE_BACKEND_WRITE_TIMEOUT",
    flag: "backend-write-timeout",
    meaning: "how long a batch of writes may take before it is retried",
  },
  [10 * SECOND_MS, "10s"],
  { minMs: 100, maxMs: 10 * MINUTE_MS, range: "from 100ms to 10m such as 30s" },
);

const backendConnections = numberOption(
  {
    env: "SERV_CACHE_BACKEND_CONNECTIONS",
    flag: "backend-connections",
    meaning: "concurrent loads; writes have their own connections",
  },
  8,
  1,
  1_000,
);

const backendWriteConnections = numberOption(
  {
    env: "SERV_CACHE_BACKEND_WRITE_CONNECTIONS",
    flag: "backend-write-connections",
    meaning: "concurrent batches of writes",
  },
  2,
  1,
  100,
);

const fillTtlMs = durationOption(
  {
    env: "SERV_CACHE_FILL_TTL",
    flag: "fill-ttl",
    meaning: "TTL of loaded values, plus or minus a tenth; 0 = they never expire",
  },
  [MINUTE_MS, "1m"],
  { minMs: 0, maxMs: Number.MAX_SAFE_INTEGER, range: "such as 30s or 1h, or 0 for none" },
);

const negativeTtlMs = durationOption(
  {
    env: "SERV_CACHE_NEGATIVE_TTL",
    flag: "negative-ttl",
    meaning: "how long the absence of a key in the database is remembered; 0 = not at all",
  },
  [5 * SECOND_MS, "5s"],
  { minMs: 0, maxMs: DAY_MS, range: "from 0 to 24h such as 5s" },
);

const staleIfErrorMs = durationOption(
  {
    env: "SERV_CACHE_STALE_IF_ERROR",
    flag: "stale-if-error",
    meaning:
      "how long after its TTL a stale value may be served while the database fails, or from the near cache while Redis is away",
  },
  [0, "off"],
  { minMs: 1, maxMs: 365 * DAY_MS, range: "from 1ms to 8760h such as 10m", offWord: "off" },
);

const staleMemoryBytes: Option<number | null> = {
  env: "SERV_CACHE_STALE_MEMORY",
  flags: ["stale-memory"],
  placeholder: "SIZE",
  meaning: "memory for stale values; part of SERV_CACHE_ENTRY_MEMORY",
  defaultText: "a fifth of SERV_CACHE_ENTRY_MEMORY",
  defaultValue: () => null,
  expected: "a size from 4MiB to 28GiB such as 64MiB",
  parse: (given, machine) => within(parseByteSize(given, machine.memoryBytes), 4 * MIB, 28 * GIB),
};

const refreshAhead: Option<number> = {
  env: "SERV_CACHE_REFRESH_AHEAD",
  flags: ["refresh-ahead"],
  placeholder: "SHARE",
  meaning: "share of SERV_CACHE_FILL_TTL: an entry that is read with less than this left is reloaded in the background",
  defaultText: "off",
  defaultValue: () => 0,
  expected: "off, or a share from 1% to 90% such as 20%",
  parse: (given) => {
    if (given === "off") return 0;
    const percent = /^(\d{1,2})%$/.exec(given)?.[1];
    const share = within(percent === undefined ? null : Number(percent), 1, 90);
    return share === undefined ? undefined : share / 100;
  },
};

const writeMode = wordOption(
  {
    env: "SERV_CACHE_WRITE_MODE",
    flag: "write-mode",
    meaning:
      "behind = writes reach the database in the background, through = before they are acknowledged, none = never",
  },
  ["behind", "through", "none"],
  "behind",
);

const writeReload = booleanOption(
  {
    env: "SERV_CACHE_WRITE_RELOAD",
    flag: "write-reload",
    meaning: "true reloads an entry from the database as soon as it was written there",
  },
  false,
);

const writeDelayMs = durationOption(
  {
    env: "SERV_CACHE_WRITE_BEHIND_DELAY",
    flag: "write-behind-delay",
    meaning: "how long a write waits for newer writes of its key before it is sent to the database",
  },
  [100, "100ms"],
  { minMs: 0, maxMs: 60 * MINUTE_MS, range: "from 0 to 1h such as 100ms" },
);

const writeBatchRows = numberOption(
  {
    env: "SERV_CACHE_WRITE_BEHIND_BATCH",
    flag: "write-behind-batch",
    meaning: "rows in one batch to the database",
  },
  500,
  1,
  10_000,
);

const writeAttempts = numberOption(
  {
    env: "SERV_CACHE_WRITE_BEHIND_ATTEMPTS",
    flag: "write-behind-attempts",
    meaning: "how often the database may refuse a row before it becomes a dead letter",
  },
  10,
  1,
  1_000,
);

const outboxMaxBytes = sizeOption(
  {
    env: "SERV_CACHE_OUTBOX_MAX",
    flag: "outbox-max",
    meaning:
      "limit on the size of the outbox for the database and the peers; when it is full, writes are refused with 503",
  },
  [GIB, "1GiB"],
  { minBytes: MIB, maxBytes: 100 * TIB, range: "from 1MiB to 100TiB such as 512MiB" },
);

const outboxSync = wordOption(
  {
    env: "SERV_CACHE_OUTBOX_SYNC",
    flag: "outbox-sync",
    meaning: "normal = acknowledged writes survive a crash of the process, full = also a loss of power",
  },
  ["normal", "full"],
  "normal",
);

const drainTimeoutMs = durationOption(
  {
    env: "SERV_CACHE_DRAIN_TIMEOUT",
    flag: "drain-timeout",
    meaning: "how long a shutdown continues to drain the outbox; the rest is kept for the next start",
  },
  [10 * SECOND_MS, "10s"],
  { minMs: 0, maxMs: 60 * MINUTE_MS, range: "from 0 to 1h such as 10s" },
);

const dataDirectory: Option<string> = {
  env: "SERV_CACHE_DATA_DIR",
  flags: ["data-dir"],
  placeholder: "FOLDER",
  meaning: "directory of the outbox; created only with a database or peers; only one running node can use it",
  defaultText: "./servcache-data",
  defaultValue: () => "./servcache-data",
  expected: "a folder",
  parse: (given) => (given === "" ? undefined : given),
};

const nodeId: Option<number | null> = {
  env: "SERV_CACHE_NODE_ID",
  flags: ["node-id"],
  placeholder: "N",
  meaning: "id of this node, unique among its peers",
  defaultText: "made once, kept in the data directory",
  defaultValue: () => null,
  expected: `a whole number from 1 to ${MAX_NODE_ID}`,
  parse: (given) => within(/^\d{1,10}$/.test(given) ? Number(given) : null, 1, MAX_NODE_ID),
};

export const backendOptions = {
  backendUrl,
  backendTable,
  backendReadSql,
  backendWriteSql,
  backendDeleteSql,
  backendKeys,
  backendDelete,
  backendBatchPath,
  backendHtml,
  backendCaFile,
  backendTimeoutMs,
  backendWriteTimeoutMs,
  backendConnections,
  backendWriteConnections,
  fillTtlMs,
  negativeTtlMs,
  staleIfErrorMs,
  staleMemoryBytes,
  refreshAhead,
  writeMode,
  writeReload,
  writeDelayMs,
  writeBatchRows,
  writeAttempts,
} as const;

/** The options of the outbox, which queues writes for the backend and the peers. */
export const outboxOptions = {
  outboxMaxBytes,
  outboxSync,
  drainTimeoutMs,
  dataDirectory,
  nodeId,
} as const;
