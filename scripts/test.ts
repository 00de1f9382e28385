/**
 * `npm test`: makes sure that the servers are there that tests start themselves, then runs `bun test` with the
 * arguments given. With `CI=true` a missing server is a failure; else what needs it is named loudly.
 */

import { existsSync } from "node:fs";
import { dirname } from "node:path";

interface NeededServer {
  /** The executable that the tests start. */
  readonly command: string;
  /** The package of Debian and Ubuntu that brings it. */
  readonly aptPackage: string;
  /** What can't be tested without it. */
  readonly neededBy: string;
}

const neededServers: readonly NeededServer[] = [
  { command: "redis-server", aptPackage: "redis-server", neededBy: "the Redis engine" },
  { command: "openssl", aptPackage: "openssl", neededBy: "TLS" },
  { command: "mariadbd", aptPackage: "mariadb-server", neededBy: "the MySQL and MariaDB backend" },
  { command: "postgres", aptPackage: "postgresql", neededBy: "the PostgreSQL backend" },
];

/** Debian puts PostgreSQL's programs there, by version, and not into the path. */
const POSTGRES_PROGRAMS = "/usr/lib/postgresql/*/bin/postgres";

const root = dirname(import.meta.dir);

const missing = neededServers.filter((server) => !isInstalled(server));
if (missing.length > 0) install(missing);
const stillMissing = missing.filter((server) => !isInstalled(server));
for (const server of stillMissing) {
  console.error(`MISSING: ${server.command}, install it to test ${server.neededBy}: those tests will fail`);
}
if (stillMissing.length > 0 && process.env.CI === "true") process.exit(1);

/** Tests wait for conditions: this only ends one that waits for what never comes, on the slowest machine. */
const TEST_LIMIT_MS = 60_000;

const tests = Bun.spawn([process.execPath, "test", `--timeout=${TEST_LIMIT_MS}`, ...process.argv.slice(2)], {
  cwd: root,
  stdio: ["inherit", "inherit", "inherit"],
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => tests.kill(signal));
process.exit(await tests.exited);

function isInstalled({ command }: NeededServer): boolean {
  if (Bun.which(command, { PATH: `${process.env.PATH}:/usr/sbin` }) !== null) return true;
  return command === "postgres" && !new Bun.Glob(POSTGRES_PROGRAMS.slice(1)).scanSync({ cwd: "/" }).next().done;
}

/** With the system's package manager, where that is apt and this is root; else nothing is done. */
function install(servers: readonly NeededServer[]): void {
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !existsSync("/etc/debian_version")) return;
  const packages = servers.map((server) => server.aptPackage);
  console.error(`installing for the tests: ${packages.join(" ")}`);
  // A server that is started by its package would only be in the way: the tests start their own.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  for (const command of [
    ["apt-get", "update", "-qq"],
    ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages],
  ]) {
    const run = Bun.spawnSync(command, { env, stdio: ["ignore", "ignore", "inherit"] });
    if (run.exitCode !== 0) return;
  }
}
