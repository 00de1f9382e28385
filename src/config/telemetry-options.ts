/** The options of logs and telemetry; the `OTEL_…` variables are read in `otel-environment.ts`. */

import type { Option } from "./option.ts";
import { booleanOption, wordOption } from "./option-kinds.ts";

const logLevel = wordOption(
  {
    env: "LOG_LEVEL",
    flag: "log-level",
    meaning: "lowest level that is logged",
  },
  ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
  "info",
);

const telemetryKeys = wordOption(
  {
    env: "SERV_CACHE_TELEMETRY_KEYS",
    flag: "telemetry-keys",
    meaning: "how traces show cache keys: on = unchanged, hashed = the first digits of their SHA-256, off = not at all",
  },
  ["on", "hashed", "off"],
  "hashed",
);

const otlpEndpoint: Option<string | null> = {
  env: "SERV_OTLP_ENDPOINT",
  flags: ["otlp-endpoint"],
  placeholder: "URL",
  meaning: "OTLP/HTTP endpoint for traces and metrics; OTEL_EXPORTER_OTLP_ENDPOINT means the same and has precedence",
  defaultText: "none",
  defaultValue: () => null,
  expected: "a URL such as http://localhost:4318, or a host and a port such as localhost:4318",
  parse: (given) => baseUrlOf(given),
};

const sqlComments = booleanOption(
  {
    env: "SERV_CACHE_SQL_COMMENTS",
    flag: "sql-comments",
    meaning: "adds the trace context of sampled calls to SQL, as a comment that database tools can read (sqlcommenter)",
  },
  false,
);

const metricsBuckets = wordOption(
  {
    env: "SERV_CACHE_METRICS_BUCKETS",
    flag: "metrics-buckets",
    meaning: "buckets of the histograms in /metrics: full = bounds that are 4.4 % apart, few = powers of two",
  },
  ["full", "few"],
  "full",
);

export const telemetryOptions = { logLevel, telemetryKeys, otlpEndpoint, sqlComments, metricsBuckets } as const;

/** Without a slash at its end. */
function baseUrlOf(given: string): string | undefined {
  const text = given.includes("://") ? given : `http://${given}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === "") return undefined;
  return text.replace(/\/+$/, "");
}
