import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./until.ts";

/** A control group of Linux with a limit on memory, inside the one that the tests run in. */
export interface MemoryCgroup extends AsyncDisposable {
  /** Runs a command in it: to be put before the command's own words. */
  readonly prefix: readonly string[];
  /** Processes that the kernel has ended in it because it was full. */
  oomKills(): number;
}

let made = 0;

/** Null = this system has none, or makes none for us. */
export function memoryCgroup(limitBytes: number): MemoryCgroup | null {
  const parent = parentGroup();
  if (parent === null) return null;
  const folder = join(parent.path, `servcache-test-${process.pid}-${++made}`);
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, parent.limitFile), String(limitBytes));
  } catch {
    if (existsSync(folder)) rmdirSync(folder);
    return null;
  }
  return {
    prefix: ["sh", "-c", `echo $$ > ${join(folder, "cgroup.procs")} && exec "$0" "$@"`],
    oomKills: () => Number(/oom_kill (\d+)/.exec(readFileSync(join(folder, parent.eventsFile), "utf8"))?.[1]),
    [Symbol.asyncDispose]: async () => {
      await until("the group is empty", () => readFileSync(join(folder, "cgroup.procs"), "utf8").trim() === "");
      rmdirSync(folder);
    },
  };
}

/** Whether `memoryCgroup` makes one. */
export function hasMemoryCgroups(): boolean {
  const parent = parentGroup();
  if (parent === null) return false;
  const folder = join(parent.path, `servcache-test-${process.pid}-look`);
  try {
    mkdirSync(folder);
    const isThere = existsSync(join(folder, parent.limitFile));
    rmdirSync(folder);
    return isThere;
  } catch {
    return false;
  }
}

interface ParentGroup {
  readonly path: string;
  readonly limitFile: string;
  readonly eventsFile: string;
}

function parentGroup(): ParentGroup | null {
  const self = existsSync("/proc/self/cgroup") ? readFileSync("/proc/self/cgroup", "utf8") : "";
  const v1 = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(self)?.[1];
  if (v1 !== undefined) {
    const path = join("/sys/fs/cgroup/memory", v1);
    return { path, limitFile: "memory.limit_in_bytes", eventsFile: "memory.oom_control" };
  }
  const v2 = /^0::(.*)$/m.exec(self)?.[1];
  if (v2 === undefined) return null;
  return { path: join("/sys/fs/cgroup", v2), limitFile: "memory.max", eventsFile: "memory.events" };
}
