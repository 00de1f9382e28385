import { describe, expect, test } from "bun:test";
import { availableMemoryBytes } from "../../src/config/memory-limit.ts";

const MACHINE_BYTES = 16_000;

function available(files: Readonly<Record<string, string>>): number {
  return availableMemoryBytes(MACHINE_BYTES, (path) => files[path] ?? null);
}

describe("memory that this process may use", () => {
  test("is the machine's where no control group is readable", () => {
    expect(available({})).toBe(MACHINE_BYTES);
  });

  test("is the limit of the own group in v2", () => {
    expect(available({ "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "5000\n" })).toBe(5000);
  });

  test("is the lowest limit among the groups above", () => {
    expect(
      available({
        "/proc/self/cgroup": "0::/a/b/c\n",
        "/sys/fs/cgroup/a/b/c/memory.max": "9000\n",
        "/sys/fs/cgroup/a/b/memory.max": "max\n",
        "/sys/fs/cgroup/a/memory.max": "3000\n",
        "/sys/fs/cgroup/memory.max": "4000\n",
      }),
    ).toBe(3000);
  });

  test("is the container's limit at the root of its own namespace", () => {
    expect(available({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "7000\n" })).toBe(7000);
  });

  test("is the machine's where all groups say max, or a limit above the machine's memory", () => {
    expect(available({ "/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "max\n" })).toBe(MACHINE_BYTES);
    expect(available({ "/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "99999\n" })).toBe(MACHINE_BYTES);
  });

  test("follows the memory controller of v1, where a huge number means no limit", () => {
    const selfCgroup = "9:name=systemd:/\n4:cpuset,memory:/job/7\n0::/\n";
    const limits = { "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "6000\n" };
    const none = { "/sys/fs/cgroup/memory/job/7/memory.limit_in_bytes": "9223372036854771712\n" };
    expect(available({ "/proc/self/cgroup": selfCgroup, ...limits, ...none })).toBe(6000);
    expect(available({ "/proc/self/cgroup": selfCgroup, ...none })).toBe(MACHINE_BYTES);
  });
});
