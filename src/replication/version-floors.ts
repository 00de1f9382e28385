/**
 * The newest version of any mutation that this node has seen, per bucket of keys: for engines that do not remember
 * evicted versions (`Engine.refusesForgotten`). A put that is not newer may be older than an evicted or expired entry,
 * and may only overwrite an existing entry.
 */
const BUCKETS = 2 ** 18;

export class VersionFloors {
  readonly #versions = new Float64Array(BUCKETS);

  newest(key: string): number {
    return this.#versions[bucketOf(key)] ?? 0;
  }

  note(key: string, version: number): void {
    const bucket = bucketOf(key);
    if (version > (this.#versions[bucket] ?? 0)) this.#versions[bucket] = version;
  }
}

function bucketOf(key: string): number {
  return Bun.hash.xxHash32(key) & (BUCKETS - 1);
}
