/** The options of replication. All but the first matter only where that one is set. */

import { parseByteSize } from "./byte-size.ts";
import { type Option, within } from "./option.ts";
import { durationOption, numberOption, sizeOption, textOption, wordOption } from "./option-kinds.ts";

const KIB = 1024;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const TIB = 1024 ** 4;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

const peers: Option<readonly string[] | null> = {
  env: "SERV_CACHE_PEERS",
  flags: ["peers"],
  placeholder: "URLS",
  meaning: "URLs of the other nodes, separated by commas; this node's own URL is ignored",
  defaultText: "none",
  defaultValue: () => null,
  expected: "URLs separated by commas, such as http://10.0.0.2:8088,https://cache.eu.example.com",
  parse: (given) => {
    const urls = given.split(",").map((text) => peerUrl(text.trim()));
    return urls.some((url) => url === null) ? undefined : [...new Set(urls.filter((url) => url !== null))];
  },
};

const peerToken = textOption(
  {
    env: "SERV_CACHE_PEER_TOKEN",
    flag: "peer-token",
    meaning: "secret that all nodes share; without one, peers are recognised by their addresses",
  },
  "TEXT",
);

const replicatedKeys: Option<readonly string[]> = {
  env: "SERV_CACHE_REPLICATE",
  flags: ["replicate"],
  placeholder: "GLOBS",
  meaning: "keys that are replicated: globs, separated by commas; must be the same on all nodes",
  defaultText: "all",
  defaultValue: () => [],
  expected: "globs separated by commas, such as user:*,session:*",
  parse: (given) => {
    const globs = given.split(",").map((glob) => glob.trim());
    return globs.some((glob) => glob === "" || Buffer.byteLength(glob) > 1024) ? undefined : globs;
  },
};

const maxClockSkewMs = durationOption(
  {
    env: "SERV_CACHE_MAX_CLOCK_SKEW",
    flag: "max-clock-skew",
    meaning: "how far ahead a peer's clock may be; mutations stamped further ahead are refused until their time",
  },
  [30 * SECOND_MS, "30s"],
  { minMs: 100, maxMs: HOUR_MS, range: "from 100ms to 1h such as 30s" },
);

const tombstoneTtlMs = durationOption(
  {
    env: "SERV_CACHE_TOMBSTONE_TTL",
    flag: "tombstone-ttl",
    meaning: "how long a delete is remembered by key; after that, by bucket, together with other keys",
  },
  [10 * MINUTE_MS, "10m"],
  { minMs: SECOND_MS, maxMs: 24 * HOUR_MS, range: "from 1s to 24h such as 10m" },
);

const bootstrap = wordOption(
  {
    env: "SERV_CACHE_BOOTSTRAP",
    flag: "bootstrap",
    meaning: "peer = a node that starts empty copies the entries of the nearest peer before it is ready",
  },
  ["none", "peer"],
  "none",
);

const bootstrapTimeoutMs = durationOption(
  {
    env: "SERV_CACHE_BOOTSTRAP_TIMEOUT",
    flag: "bootstrap-timeout",
    meaning: "how long a node waits for these entries before it is ready without the rest",
  },
  [MINUTE_MS, "1m"],
  { minMs: SECOND_MS, maxMs: 24 * HOUR_MS, range: "from 1s to 24h such as 5m" },
);

const compareEveryMs = durationOption(
  {
    env: "SERV_CACHE_PEER_COMPARE",
    flag: "peer-compare",
    meaning: "how often entries are compared with those of each peer, and differences repaired",
  },
  [10 * MINUTE_MS, "10m"],
  { minMs: SECOND_MS, maxMs: 24 * HOUR_MS, range: "from 1s to 24h such as 10m", offWord: "off" },
);

const peerQueueBytes = sizeOption(
  {
    env: "SERV_CACHE_PEER_QUEUE",
    flag: "peer-queue",
    meaning: "size of the queue for one peer; above it, the peer gets the changed keys without their values",
  },
  [256 * MIB, "256MiB"],
  { minBytes: MIB, maxBytes: 100 * TIB, range: "from 1MiB to 100TiB such as 1GiB" },
);

const peerQueueKeys = numberOption(
  {
    env: "SERV_CACHE_PEER_QUEUE_KEYS",
    flag: "peer-queue-keys",
    meaning: "keys in the queue for one peer; above it, the peer is told to drop all older entries",
  },
  2_000_000,
  1_000,
  100_000_000,
);

const peerBandwidth: Option<number> = {
  env: "SERV_CACHE_PEER_BANDWIDTH",
  flags: ["peer-bandwidth"],
  placeholder: "SIZE",
  meaning: "bytes per second that may be sent to one peer",
  defaultText: "off",
  defaultValue: () => 0,
  expected: "off, or a size from 64KiB to 100GiB such as 10MiB",
  parse: (given, machine) =>
    given === "off" ? 0 : within(parseByteSize(given, machine.memoryBytes), 64 * KIB, 100 * GIB),
};

export const peerOptions = {
  peers,
  peerToken,
  replicatedKeys,
  maxClockSkewMs,
  tombstoneTtlMs,
  bootstrap,
  bootstrapTimeoutMs,
  compareEveryMs,
  peerQueueBytes,
  peerQueueKeys,
  peerBandwidth,
} as const;

/** Without a slash at the end; null = it can't be used. */
function peerUrl(text: string): string | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const isPlain = url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  if (!/^https?:$/.test(url.protocol) || url.hostname === "" || !isPlain) return null;
  return url.href.replace(/\/+$/, "");
}
