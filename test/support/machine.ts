import type { Machine } from "../../src/config/option.ts";

/** A machine with 8 GiB and 4 cores. */
export const machine: Machine = { memoryBytes: 8 * 1024 ** 3, cores: 4 };
