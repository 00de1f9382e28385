/** Bits of the index's hashes. */
const INDEX_HASH_BITS = 30;

/**
 * Remembers the versions of entries and tombstones that the engine has dropped: the newest version per bucket of key
 * hashes. A put that is not newer than its bucket may be older than a dropped entry, and is refused. So neither
 * eviction nor expiry nor the end of a tombstone can let an older value come back. The cost is 8 bytes per bucket, and
 * some misses: a late put is refused if it shares a bucket with a newer dropped entry.
 *
 * A bucket belongs to one shard and is used under its lock.
 */
export class EvictedVersions {
  private readonly versions: Float64Array;
  private readonly shift: number;
  private readonly perShard: number;

  /** An empty buffer remembers nothing. */
  constructor(buffer: SharedArrayBuffer, shardCount: number) {
    this.versions = new Float64Array(buffer);
    this.perShard = this.versions.length / shardCount;
    this.shift = INDEX_HASH_BITS - Math.log2(this.perShard);
  }

  get isEnabled(): boolean {
    return this.perShard > 0;
  }

  /** The newest dropped version among the keys that share the hash's bucket. */
  newest(shardNumber: number, hash: number): number {
    if (this.perShard === 0) return 0;
    return this.versions[this.bucket(shardNumber, hash)]!;
  }

  add(shardNumber: number, hash: number, version: number): void {
    if (this.perShard === 0) return;
    const bucket = this.bucket(shardNumber, hash);
    if (version > this.versions[bucket]!) this.versions[bucket] = version;
  }

  private bucket(shardNumber: number, hash: number): number {
    return shardNumber * this.perShard + (hash >>> this.shift);
  }
}

/** One bucket per 16 KiB of the memory, so that the buckets take a two-thousandth of it. */
const BYTES_PER_BUCKET = 16 * 1024;
const MIN_BUCKETS_PER_SHARD = 16;
const MAX_BUCKETS_PER_SHARD = 4096;

/** Size of the buffer for a memory of `limitBytes`. */
export function forgottenBytes(limitBytes: number, shardCount: number): number {
  const wanted = 2 ** Math.floor(Math.log2(limitBytes / shardCount / BYTES_PER_BUCKET));
  const perShard = Math.min(MAX_BUCKETS_PER_SHARD, Math.max(MIN_BUCKETS_PER_SHARD, wanted));
  return perShard * shardCount * 8;
}
