/** What a node keeps of its file descriptors for itself: its files, the database, Redis and peers … */
const RESERVED = 64;
/** … and for each HTTP thread: its listener, its event loop. */
const RESERVED_PER_THREAD = 16;
/** Of a limit that is too low even for that. */
const LEAST_SHARE = 0.25;

/**
 * The connections that each HTTP thread may have open, `wanted` at most, so that together they leave descriptors free:
 * with none left, Bun retries `accept` in a busy loop until there is one.
 *
 * @param descriptorLimit of the process, see `descriptorLimit`
 * @param surplusOf what a listener opens beyond its limit, to refuse it
 */
export function connectionsPerThread(
  wanted: number,
  threads: number,
  descriptorLimit: number,
  surplusOf: (connections: number) => number,
): number {
  const free = Math.max(descriptorLimit - RESERVED - threads * RESERVED_PER_THREAD, descriptorLimit * LEAST_SHARE);
  const share = Math.floor(free / threads);
  if (wanted + surplusOf(wanted) <= share) return wanted;
  return Math.max(1, share - surplusOf(share));
}

/**
 * The soft limit on open files.
 *
 * @param limitsText of `/proc/self/limits`; null where there is none
 */
export function descriptorLimit(limitsText: string | null): number {
  const found = /^Max open files\s+(\d+)/m.exec(limitsText ?? "")?.[1];
  return found === undefined ? Number.POSITIVE_INFINITY : Number(found);
}
