import { describe, expect, test } from "bun:test";
import { type Environment, loadConfig } from "../../src/config/config.ts";
import { ConfigError } from "../../src/config/errors.ts";
import { serveHelp } from "../../src/config/help.ts";
import { variablesOf } from "../../src/config/option.ts";
import { options } from "../../src/config/options.ts";
import { machine } from "../support/machine.ts";

function load(args: readonly string[], env: Environment = {}) {
  return loadConfig(args, env, machine);
}

/** The one line that stops the start; fails where nothing stops it. */
function refusal(args: readonly string[], env: Environment = {}): string {
  try {
    load(args, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

const OUTBOX_DEFAULTS = {
  limitBytes: 1024 ** 3,
  sync: "normal",
  drainTimeoutMs: 10_000,
  dataDirectory: "./servcache-data",
  nodeId: null,
} as const;

const MIB = 1024 ** 2;

const TELEMETRY_DEFAULTS = {
  logLevel: "info",
  keys: "hashed",
  sqlComments: false,
  metricsBuckets: "full",
  otel: {
    traces: null,
    metrics: null,
    sampler: { ratio: 1, isParentBased: true },
    spans: { limit: 2_048, batch: 512, delayMs: 5_000 },
  },
} as const;

describe("configuration", () => {
  test("has a default for everything", () => {
    expect(load([])).toEqual({
      config: {
        address: { hostname: "127.0.0.1", port: 8088 },
        memory: { limitBytes: 2048 * MIB, runtimeBytes: 384 * MIB, inFlightBytes: 208 * MIB, entryBytes: 1456 * MIB },
        workers: 4,
        defaultTtlMs: null,
        shutdownGraceMs: 10_000,
        maxConnections: 10_000,
        idleTimeoutMs: 60_000,
        httpMaxAge: false,
        redis: null,
        backend: null,
        peers: null,
        outbox: OUTBOX_DEFAULTS,
        telemetry: TELEMETRY_DEFAULTS,
      },
      warnings: [],
    });
  });

  test("comes from variables", () => {
    const { config } = load([], {
      SERV_CACHE_ADDR: ":9000",
      PORT: "1",
      SERV_CACHE_MAX_MEMORY: "50%",
      SERV_CACHE_WORKERS: "2",
      SERV_CACHE_DEFAULT_TTL: "1h30m",
      SERV_CACHE_SHUTDOWN_GRACE: "2.5s",
      SERV_CACHE_MAX_CONNECTIONS: "100",
      SERV_CACHE_IDLE_TIMEOUT: "5m",
      SERV_CACHE_HTTP_MAX_AGE: "true",
    });
    expect(config).toEqual({
      address: { hostname: "", port: 9000 },
      memory: { limitBytes: 4096 * MIB, runtimeBytes: 264 * MIB, inFlightBytes: 479 * MIB, entryBytes: 3353 * MIB },
      workers: 2,
      defaultTtlMs: 5_400_000,
      shutdownGraceMs: 2_500,
      maxConnections: 100,
      idleTimeoutMs: 300_000,
      httpMaxAge: true,
      redis: null,
      backend: null,
      peers: null,
      outbox: OUTBOX_DEFAULTS,
      telemetry: TELEMETRY_DEFAULTS,
    });
  });

  test.each([
    [["--addr", "127.0.0.1:9000", "--workers=3"]],
    [["-addr", "127.0.0.1:9000", "-workers", "3"]],
    [["--port=127.0.0.1:9000", "--workers", "3"]],
  ])("comes from flags, which win over variables: %p", (args) => {
    const { config } = load(args, { SERV_CACHE_ADDR: ":2", PORT: "1", SERV_CACHE_WORKERS: "nonsense" });
    expect(config.address).toEqual({ hostname: "127.0.0.1", port: 9000 });
    expect(config.workers).toBe(3);
  });

  test("takes a variable that is set to nothing as not set", () => {
    expect(load([], { PORT: "", SERV_CACHE_ADDR: "", SERV_CACHE_WORKERS: "", REDIS_URL: "" }).config).toEqual(
      load([]).config,
    );
  });

  test("takes a default TTL of 0 as none", () => {
    expect(load([], { SERV_CACHE_DEFAULT_TTL: "0" }).config.defaultTtlMs).toBeNull();
  });

  test("keeps the defaults within their bounds on the smallest and the largest machine", () => {
    const small = loadConfig([], {}, { memoryBytes: 256 * MIB, cores: 0 }).config;
    const large = loadConfig([], {}, { memoryBytes: 1024 ** 4, cores: 512 }).config;
    expect([small.memory.limitBytes, small.workers]).toEqual([224 * MIB, 1]);
    expect([large.memory.limitBytes, large.workers]).toEqual([32 * 1024 * MIB, 64]);
  });

  test.each([
    ["PORT", "http"],
    ["PORT", "65536"],
    ["SERV_CACHE_MAX_MEMORY", "lots"],
    ["SERV_CACHE_MAX_MEMORY", "1KiB"],
    ["SERV_CACHE_MAX_MEMORY", "33GiB"],
    ["SERV_CACHE_ENTRY_MEMORY", "3MiB"],
    ["SERV_CACHE_ENTRY_MEMORY", "29GiB"],
    ["SERV_CACHE_WORKERS", "0"],
    ["SERV_CACHE_WORKERS", "65"],
    ["SERV_CACHE_WORKERS", "1.5"],
    ["SERV_CACHE_DEFAULT_TTL", "10"],
    ["SERV_CACHE_DEFAULT_TTL", "-1s"],
    ["SERV_CACHE_SHUTDOWN_GRACE", "2h"],
    ["SERV_CACHE_MAX_CONNECTIONS", "0"],
    ["SERV_CACHE_IDLE_TIMEOUT", "0"],
    ["SERV_CACHE_IDLE_TIMEOUT", "600h"],
  ])("is refused in one line that names the variable, the value and what is expected: %s=%s", (name, value) => {
    const option = Object.values(options).find((candidate) => variablesOf(candidate).includes(name));
    expect(refusal([], { [name]: value })).toBe(`${name} is "${value}", expected ${option?.expected}`);
    expect(refusal([`--${option?.flags[0]}`, value])).toBe(
      `--${option?.flags[0]} is "${value}", expected ${option?.expected}`,
    );
  });

  test("is refused in one line also where the value holds line breaks", () => {
    expect(refusal([], { PORT: "80\n90" })).toStartWith('PORT is "80\\n90", expected a port');
  });

  test.each([
    [["--nonsense", "1"], '"--nonsense" is not a flag of serve; see servcache serve --help'],
    [["8088"], '"8088" is not a flag of serve; see servcache serve --help'],
    [["--"], '"--" is not a flag of serve; see servcache serve --help'],
    [["--workers"], "--workers lacks its value, as in --workers=…"],
    [["--workers=1", "--workers=2"], "--workers is given, but SERV_CACHE_WORKERS is already set by another flag"],
    [["--addr=:1", "--port=2"], "--port is given, but SERV_CACHE_ADDR is already set by another flag"],
    [["--workers="], `--workers is "", expected ${options.workers.expected}`],
  ])("is refused where the command line is %p", (args, line) => {
    expect(refusal(args)).toBe(line);
  });

  test("warns of variables that look like ours and are not", () => {
    expect(load([], { SERV_CACHE_MAX_MEMROY: "1GiB", SERV_CACHE_: "x", HOME: "/" }).warnings).toEqual([
      "SERV_CACHE_ is set, but ServCache knows no such variable: it has no effect",
      "SERV_CACHE_MAX_MEMROY is set, but ServCache knows no such variable: it has no effect; did you mean SERV_CACHE_MAX_MEMORY?",
    ]);
    expect(
      load([], { REDIS_ULR: "redis://r", PATH: "/bin", POST: "1", LOG_LEVEL: "info", REDIS_HOST: "r" }).warnings,
    ).toEqual(["REDIS_ULR is set, but ServCache knows no such variable: it has no effect; did you mean REDIS_URL?"]);
  });

  test("warns of options whose parent is not set, and only of those", () => {
    const env = { SERV_CACHE_REDIS_CA: "ca.pem", SERV_CACHE_FILL_TTL: "1h", SERV_CACHE_DATA_DIR: "d" };
    expect(load(["--redis-ca=ca.pem", "--tombstone-ttl=1h"], env).warnings).toEqual([
      "--redis-ca is set, but REDIS_URL is not: it has no effect",
      "SERV_CACHE_FILL_TTL is set, but SERV_CACHE_BACKEND_DB is not: it has no effect",
      "--tombstone-ttl is set, but SERV_CACHE_PEERS is not: it has no effect",
      "SERV_CACHE_DATA_DIR is set, but neither SERV_CACHE_BACKEND_DB nor SERV_CACHE_PEERS is: it has no effect",
    ]);
    expect(load(["--redis-url=redis://r", "--backend-db=sqlite:x", "--peers=http://p"], env).warnings).toEqual([]);
  });

  test.each([
    [[], {}, []],
    [["--addr=localhost:1"], {}, []],
    [["--addr=127.8.9.1:1"], {}, []],
    [["--addr=[::1]:1"], {}, []],
    [["--addr=:1"], {}, ["there is no authentication"]],
    [["--addr=127.example.org:1"], {}, ["there is no authentication"]],
    [[], { PORT: "1" }, ["there is no authentication"]],
    [[], { SERV_CACHE_ADDR: "10.0.0.1:1" }, ["there is no authentication"]],
  ])("warns of an address that others can reach: %p %p", (args, env, beginnings) => {
    expect(load(args, env).warnings.map((line) => line.split(":", 1)[0])).toEqual(beginnings);
  });

  test("is explained by the help, every variable and flag with its default", () => {
    const help = serveHelp().replace(/\s+/g, " ");
    for (const option of Object.values(options)) {
      for (const flag of option.flags) expect(help).toContain(`--${flag} ${option.placeholder}`);
      expect(help).toContain(`(${variablesOf(option).join(", ")}) ${option.meaning}. Default: ${option.defaultText}.`);
    }
  });

  test("reads what belongs to Redis, or nothing where there is no REDIS_URL", () => {
    expect(load([], { SERV_CACHE_REDIS_PREFIX: "app:" }).config.redis).toBeNull();
    const env = { REDIS_URL: "redis://host:1", SERV_CACHE_STALE_IF_ERROR: "30s", SERV_CACHE_NEAR_CACHE: "64MiB" };
    expect(load(["--redis-prefix", "app:"], env).config.redis).toMatchObject({
      url: "redis://host:1",
      prefix: "app:",
      staleIfErrorMs: 30_000,
      nearCacheBytes: 64 * 1024 ** 2,
      connectTimeoutMs: 1_000,
      commandTimeoutMs: 250,
    });
  });

  test.each([
    ["REDIS_URL", "host:6379"],
    ["SERV_CACHE_NEAR_CACHE", "1KiB"],
    ["SERV_CACHE_REDIS_COMMAND_TIMEOUT", "0"],
    ["SERV_CACHE_REDIS_TLS_VERIFY", "perhaps"],
  ])("is refused where %s is %s", (name, value) => {
    expect(refusal([], { [name]: value })).toStartWith(`${name} is ${JSON.stringify(value)}, expected `);
  });

  test("reads what belongs to the backend, or nothing where there is no SERV_CACHE_BACKEND_DB", () => {
    expect(load([], { SERV_CACHE_FILL_TTL: "5m" }).config.backend).toBeNull();
    const { config } = load(["--write-mode=through"], {
      SERV_CACHE_BACKEND_DB: "postgres://u:p@h/db",
      SERV_CACHE_BACKEND_KEYS: "user:*, order:*",
      SERV_CACHE_BACKEND_DELETE: "true",
      SERV_CACHE_STALE_IF_ERROR: "10m",
      SERV_CACHE_REFRESH_AHEAD: "20%",
      SERV_CACHE_OUTBOX_MAX: "2MiB",
      SERV_CACHE_NODE_ID: "4294967295",
    });
    expect(config.backend).toEqual({
      url: "postgres://u:p@h/db",
      table: "servcache_entries",
      readSql: null,
      writeSql: null,
      deleteSql: null,
      keys: ["user:*", "order:*"],
      deletes: true,
      batchPath: null,
      allowsHtml: false,
      caFile: null,
      timeoutMs: 1_000,
      writeTimeoutMs: 10_000,
      connections: 8,
      writeConnections: 2,
      fillTtlMs: 60_000,
      negativeTtlMs: 5_000,
      staleIfErrorMs: 600_000,
      staleMemoryBytes: null,
      refreshAhead: 0.2,
      writeMode: "through",
      reloadsWrites: false,
      writeDelayMs: 100,
      writeBatchRows: 500,
      writeAttempts: 10,
    });
    expect(config.outbox).toEqual({ ...OUTBOX_DEFAULTS, limitBytes: 2 * 1024 ** 2, nodeId: 4_294_967_295 });
  });

  test("does not show the password of a URL that can't be used", () => {
    expect(refusal([], { SERV_CACHE_BACKEND_DB: "postgress://me:secret@host/db" })).toBe(
      `SERV_CACHE_BACKEND_DB is "postgress://…@host/db", expected ${options.backendUrl.expected}`,
    );
  });

  test.each([
    ["SERV_CACHE_BACKEND_WRITE_SQL is set", { SERV_CACHE_BACKEND_WRITE_SQL: "w" }],
    ["SERV_CACHE_BACKEND_DELETE_SQL is set", { SERV_CACHE_BACKEND_DELETE_SQL: "d" }],
    ["SERV_CACHE_BACKEND_READ_SQL is set", { SERV_CACHE_BACKEND_READ_SQL: "r" }],
    [
      "SERV_CACHE_BACKEND_DELETE is true",
      { SERV_CACHE_BACKEND_READ_SQL: "r", SERV_CACHE_BACKEND_WRITE_SQL: "w", SERV_CACHE_BACKEND_DELETE: "true" },
    ],
  ])("is refused where SQL of the user's own is not whole: %s", (line, env) => {
    expect(refusal([], { SERV_CACHE_BACKEND_DB: "sqlite:/x", ...env })).toStartWith(line);
  });
});
