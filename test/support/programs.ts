/** The programs that tests start themselves, beside Node.js and Bun. `npm test` installs them where it can. */

export interface Program {
  /** The package of Debian and Ubuntu that brings it. */
  readonly aptPackage: string;
  /** What can't be tested without it. */
  readonly neededBy: string;
  /** Where else than in the path it may be: a glob of absolute files. */
  readonly elsewhere?: string;
}

const PROGRAMS = {
  "redis-server": { aptPackage: "redis-server", neededBy: "the Redis engine" },
  openssl: { aptPackage: "openssl", neededBy: "TLS" },
  mariadbd: { aptPackage: "mariadb-server", neededBy: "the MySQL and MariaDB backend" },
  postgres: {
    aptPackage: "postgresql",
    neededBy: "the PostgreSQL backend",
    elsewhere: "/usr/lib/postgresql/*/bin/postgres",
  },
  curl: { aptPackage: "curl", neededBy: "the examples of the documentation" },
  nginx: { aptPackage: "nginx-light", neededBy: "caches in front of a node" },
  varnishd: { aptPackage: "varnish", neededBy: "caches in front of a node" },
  haproxy: { aptPackage: "haproxy", neededBy: "proxies in front of a node" },
  chromium: { aptPackage: "chromium", neededBy: "pages of other sites" },
  ps: { aptPackage: "procps", neededBy: "a database server that hangs" },
} as const satisfies Record<string, Program>;

/** Which server the tests of the Redis engine start: another that speaks the same is `valkey-server`. */
export const redisProgram = process.env.SERV_CACHE_TEST_REDIS_PROGRAM ?? "redis-server";

export type ProgramName = keyof typeof PROGRAMS;

export const programs: ReadonlyMap<string, Program> = new Map(Object.entries(PROGRAMS));

export function isInstalled(name: string): boolean {
  const command = name === "redis-server" ? redisProgram : name;
  if (Bun.which(command, { PATH: `${process.env.PATH}:/usr/sbin` }) !== null) return true;
  const elsewhere = programs.get(name)?.elsewhere;
  return elsewhere !== undefined && !new Bun.Glob(elsewhere.slice(1)).scanSync({ cwd: "/" }).next().done;
}
