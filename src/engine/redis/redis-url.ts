import { RedisConfigError } from "./errors.ts";

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

/** The parsed `REDIS_URL`. */
export interface RedisTarget {
  /** The addresses to connect to first: one server, seeds of a cluster, or the Sentinels. */
  readonly addresses: readonly RedisAddress[];
  /** The name of the monitored primary; null = not through Sentinel. */
  readonly sentinelName: string | null;
  readonly tls: boolean;
  readonly username: string | null;
  readonly password: string | null;
  readonly database: number;
}

interface Scheme {
  readonly tls: boolean;
  readonly sentinel: boolean;
}

const SCHEMES: ReadonlyMap<string, Scheme> = new Map<string, Scheme>([
  ["redis", { tls: false, sentinel: false }],
  ["rediss", { tls: true, sentinel: false }],
  ["valkey", { tls: false, sentinel: false }],
  ["valkeys", { tls: true, sentinel: false }],
  ["redis+sentinel", { tls: false, sentinel: true }],
  ["rediss+sentinel", { tls: true, sentinel: true }],
  ["valkey+sentinel", { tls: false, sentinel: true }],
  ["valkeys+sentinel", { tls: true, sentinel: true }],
]);

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;
const FORMS = "redis://[user:password@]host[:port][/database], rediss://…, valkey://…, or redis+sentinel://h1,h2/name";

/**
 * Parses `REDIS_URL`: one URL, several separated by commas (`redis://a:1,redis://b:2` or `redis://a:1,b:2`), or
 * `redis+sentinel://[user:password@]h1:p,h2:p/name[/database]`. The schemes are `redis`, `rediss`, `valkey` and
 * `valkeys`; an `s` before `+sentinel` means TLS. Throws `RedisConfigError`, whose message never shows a password.
 */
export function parseRedisUrl(text: string): RedisTarget {
  const scheme = /^([a-z+]+):\/\//i.exec(text)?.[1]?.toLowerCase();
  const kind = scheme === undefined ? undefined : SCHEMES.get(scheme);
  if (scheme === undefined || kind === undefined) throw malformed(text, `expected ${FORMS}`);

  let credentials: string | null = null;
  let path = "";
  const addresses: RedisAddress[] = [];
  const parts = text.slice(scheme.length + 3).split(",");
  parts.forEach((part, index) => {
    const own = /^([a-z+]+):\/\/(.*)$/i.exec(part);
    if (own !== null && own[1]?.toLowerCase() !== scheme) throw malformed(text, "all servers need the same scheme");
    let rest = own?.[2] ?? part;
    const at = rest.lastIndexOf("@");
    if (at >= 0) {
      const given = rest.slice(0, at);
      if (credentials !== null && credentials !== given) throw malformed(text, "all servers need the same credentials");
      credentials = given;
      rest = rest.slice(at + 1);
    }
    const query = rest.search(/[?#]/);
    if (query >= 0) throw malformed(text, `parameters (${rest.slice(query)}) are not known here; use the variables`);
    const slash = rest.indexOf("/");
    if (slash >= 0) {
      const given = rest.slice(slash + 1);
      if (path !== "" && given !== "" && given !== path) throw malformed(text, "all servers need the same database");
      if (given !== "") path = given;
      rest = rest.slice(0, slash);
    }
    if (rest === "" && parts.length > 1) throw malformed(text, `server ${index + 1} is empty`);
    addresses.push(parseAddress(text, rest, kind.sentinel ? SENTINEL_PORT : REDIS_PORT));
  });

  const { sentinelName, database } = parsePath(text, path, kind.sentinel);
  return { addresses, sentinelName, database, tls: kind.tls, ...parseCredentials(text, credentials) };
}

function parseAddress(text: string, part: string, defaultPort: number): RedisAddress {
  const match = /^(\[[0-9a-f:.%]+\]|[^:[\]\s]*)(?::(\d+))?$/i.exec(part);
  if (match === null) throw malformed(text, `"${part}" is not host:port; write an IPv6 address in brackets`);
  const port = match[2] === undefined ? defaultPort : Number(match[2]);
  if (port < 1 || port > 65535) throw malformed(text, `port ${port} is not between 1 and 65535`);
  const host = (match[1] ?? "").replace(/^\[|\]$/g, "");
  return { host: host === "" ? "127.0.0.1" : host, port };
}

function parsePath(text: string, path: string, sentinel: boolean): { sentinelName: string | null; database: number } {
  const segments = path === "" ? [] : path.replace(/\/$/, "").split("/");
  const sentinelName = sentinel ? decode(text, segments.shift() ?? "") : null;
  if (sentinelName === "") throw malformed(text, "the name of the primary is missing: redis+sentinel://h1,h2/mymaster");
  const [database = "0", ...more] = segments;
  if (more.length > 0 || !/^\d{1,5}$/.test(database)) {
    throw malformed(text, `database "${segments.join("/")}" is not a number`);
  }
  return { sentinelName, database: Number(database) };
}

function parseCredentials(text: string, credentials: string | null) {
  if (credentials === null) return { username: null, password: null };
  const colon = credentials.indexOf(":");
  if (colon < 0) throw malformed(text, "a user without a password; write user:password@ or :password@");
  const username = decode(text, credentials.slice(0, colon));
  const password = decode(text, credentials.slice(colon + 1));
  return { username: username === "" ? null : username, password: password === "" ? null : password };
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw malformed(text, "a % that is not followed by two hex digits; write % as %25");
  }
}

function malformed(text: string, reason: string): RedisConfigError {
  const shown = text.replace(/:\/\/.*@/s, "://***@");
  return new RedisConfigError(`REDIS_URL "${shown}" can't be used: ${reason}`);
}
