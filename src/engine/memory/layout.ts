/**
 * The layout of the bytes in shared memory: every offset that the memory engine uses, in one table.
 *
 * There are two kinds of shared buffers. The control buffer holds one header for the engine, one per shard, and the
 * tables of segments. The data buffers hold segments of equal size, which carry records, values, index pages or ghost
 * pages.
 *
 * A location is the address of a record in units of 8 bytes, over all data buffers, in 32 bits. Its sign does not
 * matter: it is only shifted, masked and compared for equality. Location 0 means "none": each segment of a record chain
 * starts with one reserved unit, so no record has location 0.
 */

/** Records start on multiples of this. */
export const UNIT_BYTES = 8;

/** A data buffer holds 2^27 units = 1 GiB. */
export const BUFFER_UNIT_SHIFT = 27;
export const BUFFER_UNIT_MASK = (1 << BUFFER_UNIT_SHIFT) - 1;
export const BUFFER_BYTES = 2 ** 30;

/** Locations above these buffers have other meanings (see `WHEEL_HEAD`), which limits the data to 28 GiB. */
export const MAX_BUFFERS = 28;

/** The unused unit at the start of every segment of a record chain. */
export const SEGMENT_RESERVED_BYTES = UNIT_BYTES;

// ── Record ──────────────────────────────────────────────────────────────────────────────────────────────────────────
// words 0..3 always; then, if flagged, 4 words for expiry, 1 for the node id, 1 for the blob; then the key's bytes, the
// content type (length byte and text, if it isn't a common one), and the value's last bytes. All but the value lies in
// one segment; the value may go on in the next segment of the chain, at most once.

/** Key length (11 bits), content type (8 bits from 11), flags (from 19). */
export const RECORD_META = 0;
/** Length of the whole value in bytes (25 bits). */
export const RECORD_VALUE_BYTES = 1;
export const RECORD_VERSION_LO = 2;
export const RECORD_VERSION_HI = 3;
/** Present with FLAG_EXPIRES: absolute expiry in ms since the Unix epoch, low and high word; 0 = never. */
export const RECORD_EXPIRY_LO = 4;
export const RECORD_EXPIRY_HI = 5;
/** Present with FLAG_EXPIRES: neighbours in the bucket of the timer wheel. */
export const RECORD_WHEEL_NEXT = 6;
export const RECORD_WHEEL_PREV = 7;

export const RECORD_WORDS = 4;
export const RECORD_EXPIRY_WORDS = 4;

export const KEY_LENGTH_MASK = 0x7ff;
export const CONTENT_TYPE_SHIFT = 11;
export const CONTENT_TYPE_MASK = 0xff;
/** The content type follows the key as a length byte and its text. */
export const CONTENT_TYPE_INLINE = 0xff;
/** The index does not refer to the record: its bytes can be freed. */
export const FLAG_DEAD = 1 << 19;
export const FLAG_EXPIRES = 1 << 20;
/** A tombstone; it has no value. */
export const FLAG_TOMBSTONE = 1 << 21;
/** The value's first bytes fill whole segments of their own. */
export const FLAG_BLOB = 1 << 22;
/** The stamp's node id isn't 0. */
export const FLAG_NODE_ID = 1 << 23;
/** The record is in the main queue; otherwise in the small one. */
export const FLAG_MAIN = 1 << 24;

/** The entry is older than its version, because a counter was incremented since it was created. */
export const FLAG_COUNTED = 1 << 25;

/** `RECORD_WHEEL_PREV` of the first record in a bucket: this plus the bucket's number. */
export const WHEEL_HEAD = 0xf0000000 | 0;

// ── Index slot (one unit) ───────────────────────────────────────────────────────────────────────────────────────────

/** 30 bits of hash above 2 bits of use count. */
export const SLOT_HASH = 0;
/** Location of the record; 0 = the slot is empty. */
export const SLOT_LOCATION = 1;
export const USE_COUNT_MASK = 3;

// ── Control buffer, in 32-bit words ─────────────────────────────────────────────────────────────────────────────────

export const POOL_LOCK = 0;
/** First segment of the list of free segments, plus 1; 0 = the list is empty. */
export const POOL_FREE_HEAD = 1;
export const POOL_FREE_COUNT = 2;
/** Segments from this number up have never been used, so the kernel has not given them memory yet. */
export const POOL_FRESH = 3;
/** Segments that are reserved. */
export const POOL_RESERVED = 4;
/** Free segments that were index pages, and may only be index pages again (see `segment-pool.ts`). */
export const POOL_INDEX_HEAD = 5;
export const POOL_INDEX_COUNT = 6;
/** Random key of the hash function. */
export const HASH_KEY_0 = 8;
export const HASH_KEY_1 = 9;
/** When the engine was created, in ms since the Unix epoch: tick 0 of the timer wheels. */
export const EPOCH_LO = 10;
export const EPOCH_HI = 11;
/** Incremented when a segment or a blob joins a queue of any shard: the source of ages in the queues, modulo 2^32. */
export const AGE_CLOCK = 12;
/** Ghosts remembered so far in all shards, modulo 2^32. */
export const GHOST_CLOCK = 13;
/** Live records of all shards without tombstones, at the last count. */
export const RECORDS_COUNTED = 14;
export const GLOBAL_WORDS = 32;

// One shard's header, relative to its start.
export const SHARD_LOCK = 0;
/** Odd while the index or a record header changes. */
export const SHARD_INDEX_SEQUENCE = 1;
/** Incremented before a segment of the shard is freed. */
export const SHARD_RECYCLE_SEQUENCE = 2;
export const SHARD_INDEX_PAGES = 3;
/** The last index page taken, plus 1; pages are linked, newest first. */
export const SHARD_INDEX_CHAIN = 4;
/** Used slots of the index. */
export const SHARD_SLOTS_USED = 5;
export const SHARD_TOMBSTONES = 6;
/** Mutations up to this stamp are refused: set by a clear, and by a tombstone that found no room. */
export const SHARD_FLOOR_LO = 7;
export const SHARD_FLOOR_HI = 8;
export const SHARD_GHOST_PAGES = 9;
/** How many ghosts of all shards make one step of a ghost's age, as a power of two. */
export const SHARD_GHOST_SHIFT = 10;
/** The first tick of the timer wheel that is not processed yet. */
export const SHARD_WHEEL_TICK = 11;
/** Records in the timer wheel. */
export const SHARD_WHEEL_COUNT = 12;
/** Segments that this shard holds, of every kind. */
export const SHARD_SEGMENTS = 13;
/** First and last segment of the blobs, plus 1. */
export const SHARD_BLOB_TAIL = 14;
export const SHARD_BLOB_HEAD = 15;
/** The two queues of entries, `CHAIN_WORDS` each. */
export const SHARD_SMALL = 16;
export const SHARD_MAIN = 24;
/** The newest version that was ever put into the shard. */
export const SHARD_NEWEST_LO = 32;
export const SHARD_NEWEST_HI = 33;
/** The node id of the floor's stamp. */
export const SHARD_FLOOR_NODE_ID = 34;
/** The queue of tombstones, `CHAIN_WORDS`. */
export const SHARD_DELETED = 36;
/** Heads of the timer wheel's buckets. */
export const SHARD_WHEEL = 44;

// A chain of segments with records, relative to its start; records are appended at the head and leave at the tail.
/** First segment to leave, plus 1; 0 = the chain is empty. */
export const CHAIN_TAIL = 0;
/** Byte in the tail segment up to which eviction has read the queue. */
export const CHAIN_TAIL_OFFSET = 1;
/** Segment that receives appends, plus 1. */
export const CHAIN_HEAD = 2;
/** Byte in the head segment at which the next record starts. */
export const CHAIN_HEAD_OFFSET = 3;
/** Live records. */
export const CHAIN_RECORDS = 4;
/** Size of the live records in units, including whole blobs. */
export const CHAIN_LIVE_UNITS = 5;
export const CHAIN_SEGMENTS = 6;
/** When the record at the tail joined, as last seen; records that have left since may have been older. */
export const CHAIN_BORN = 7;

/** A chain of a shard, by its place in the header: new entries, kept entries, tombstones. */
export type Queue = typeof SHARD_SMALL | typeof SHARD_MAIN | typeof SHARD_DELETED;

export const WHEEL_LEVELS = 4;
/** log2 of the buckets of a level. */
export const WHEEL_BITS = 6;
export const WHEEL_BUCKETS = 1 << WHEEL_BITS;
export const SHARD_WORDS = SHARD_WHEEL + WHEEL_LEVELS * WHEEL_BUCKETS;

/**
 * The tables of segments: next and previous segment of the chain, plus 1; live units; byte at which the first record
 * starts; byte at which the last one ends (once the segment is full); value of `AGE_CLOCK` when the segment joined its
 * queue. For a blob, the first segment has the value of its record.
 */
export const SEGMENT_TABLES = 6;

// ── Counters of one thread, 64-bit floats ───────────────────────────────────────────────────────────────────────────
export const COUNT_HITS = 0;
export const COUNT_MISSES = 1;
export const COUNT_SETS = 2;
export const COUNT_DELETES = 3;
export const COUNT_EVICTIONS = 4;
export const COUNT_EXPIRATIONS = 5;
/** Evictions from the main queue; included in the evictions. */
export const COUNT_MAIN_EVICTIONS = 6;
export const COUNTERS_PER_THREAD = 16;
