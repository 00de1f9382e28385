/**
 * Finds how much memory this process may use: that of the machine or the limit of its control groups (a container's
 * limit, a systemd unit's `MemoryMax`), whichever is less.
 */

/** Returns the text of a file, or null if it can't be read. */
export type ReadTextFile = (path: string) => string | null;

const CGROUP_ROOT = "/sys/fs/cgroup";

/** The available memory in bytes, at most `machineBytes`. */
export function availableMemoryBytes(machineBytes: number, readTextFile: ReadTextFile): number {
  const limits = limitFiles(readTextFile("/proc/self/cgroup") ?? "").map((file) => limitIn(readTextFile(file)));
  return Math.min(machineBytes, ...limits);
}

/** The files that may hold a limit: those of the process's control group and of all groups above it, in v2 and v1. */
function limitFiles(selfCgroup: string): string[] {
  const files: string[] = [];
  for (const line of selfCgroup.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (controllers === "") {
      files.push(...groupsUpTo(path).map((group) => `${CGROUP_ROOT}${group}/memory.max`));
    } else if (controllers.split(",").includes("memory")) {
      files.push(...groupsUpTo(path).map((group) => `${CGROUP_ROOT}/memory${group}/memory.limit_in_bytes`));
    }
  }
  return files;
}

/** `/a/b` -> `/a/b`, `/a` and the root; in a container with its own namespace the root is the container's group. */
function groupsUpTo(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  return Array.from({ length: names.length + 1 }, (_, depth) =>
    names
      .slice(0, names.length - depth)
      .map((name) => `/${name}`)
      .join(""),
  );
}

/** Infinite for `max` and for anything else that is not a number of bytes. */
function limitIn(text: string | null): number {
  const digits = text?.trim() ?? "";
  return /^\d+$/.test(digits) ? Number(digits) : Number.POSITIVE_INFINITY;
}
