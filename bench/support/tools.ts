import { readFileSync } from "node:fs";

/** Programs that benchmarks need, and the Debian package that each comes in. */
const PACKAGES = {
  wrk: "wrk",
  nginx: "nginx-light",
  webdis: "webdis",
  psql: "postgresql",
  "redis-server": "redis-server",
  "redis-cli": "redis-tools",
  "redis-benchmark": "redis-tools",
  node: "nodejs",
  taskset: "util-linux",
  xz: "xz-utils",
} as const;

export type Tool = keyof typeof PACKAGES;

/** Tools that are needed and not there. */
export class MissingToolsError extends Error {
  readonly code = "ERR_BENCH_TOOLS";
}

/** Makes sure that the tools are there: installs them as root on Debian, else throws and says how to. */
export async function requireTools(tools: readonly Tool[]): Promise<void> {
  let missing = tools.filter((tool) => Bun.which(tool, SEARCH) === null);
  if (missing.length === 0) return;
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...missing.map((tool) => PACKAGES[tool])];
  if (isRootOnDebian()) {
    console.log(`Missing: ${missing.join(", ")}. Installing: ${install.join(" ")}`);
    await Bun.spawn(install, { stdout: "ignore", stderr: "inherit", env: INSTALL_ENV }).exited;
    missing = tools.filter((tool) => Bun.which(tool, SEARCH) === null);
    if (missing.length === 0) return;
  }
  throw new MissingToolsError(`missing: ${missing.join(", ")}; install with: sudo ${install.join(" ")}`);
}

/** The full path of a tool that `requireTools` has found. */
export function toolPath(tool: Tool): string {
  const path = Bun.which(tool, SEARCH);
  if (path === null) throw new MissingToolsError(`missing: ${tool}`);
  return path;
}

const SEARCH = { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` };
const INSTALL_ENV = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };

function isRootOnDebian(): boolean {
  if (process.getuid?.() !== 0) return false;
  try {
    return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false;
  }
}
