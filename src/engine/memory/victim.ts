import type { Arena } from "./arena.ts";
import {
  AGE_CLOCK,
  CHAIN_BORN,
  CHAIN_LIVE_UNITS,
  CHAIN_RECORDS,
  CHAIN_TAIL,
  type Queue,
  RECORDS_COUNTED,
  SHARD_MAIN,
  SHARD_SMALL,
} from "./layout.ts";

/** The share of the live bytes above which the small queue is evicted first … */
const SMALL_SHARE = 0.1;
/** … but it may hold this many records, or a new record would leave before it could be used again … */
const SMALL_RECORDS = 24;
/** … up to this share. */
const MAX_SMALL_SHARE = 0.5;
/** Uses after which a record in the small queue is moved to the main queue … */
const PROMOTION_USES = 2;
/** … and the same while there are few records. */
const PROMOTION_USES_OF_FEW = 1;

/**
 * Chooses the next record to evict: the oldest at the end of a queue, over all shards. A shard of large entries holds
 * only one or two, so its own order means nothing; all shards together have one.
 *
 * It reads without locks, so the choice may be outdated when it is used; the holder of the shard's lock checks again.
 */
export class Victim {
  queue: Queue = SHARD_SMALL;
  shard = 0;
  /** When the next oldest record joined its queue, by `AGE_CLOCK`: younger records have to wait for that one. */
  nextBorn = 0;
  /** Live units of the small queues beyond their share. */
  excessUnits = 0;
  /** Uses after which a record moves from the small to the main queue. */
  promotionUses = PROMOTION_USES;
  private readonly control: Int32Array;
  private readonly small: Oldest;
  private readonly main: Oldest;

  constructor(private readonly arena: Arena) {
    this.control = arena.control;
    this.small = new Oldest(arena.control, SHARD_SMALL);
    this.main = new Oldest(arena.control, SHARD_MAIN);
  }

  /** False = no shard has a record. */
  choose(): boolean {
    const { arena, control, small, main } = this;
    const now = Atomics.load(control, AGE_CLOCK);
    small.reset();
    main.reset();
    for (let number = 0; number < arena.geometry.shardCount; number++) {
      const shard = arena.shard(number);
      small.see(shard, now);
      main.see(shard, now);
    }
    const records = small.records + main.records;
    control[RECORDS_COUNTED] = records;
    const share = Math.max(SMALL_SHARE, Math.min(MAX_SMALL_SHARE, SMALL_RECORDS / records));
    this.promotionUses = share > SMALL_SHARE ? PROMOTION_USES_OF_FEW : PROMOTION_USES;
    this.excessUnits = small.units - (small.units + main.units) * share;
    const takesFromSmall = small.shard !== 0 && (this.excessUnits > 0 || main.shard === 0);
    if (main.shard === 0) this.excessUnits = small.units;
    const from = takesFromSmall ? small : main;
    this.queue = from.queue;
    this.shard = from.shard;
    this.nextBorn = now - from.nextAge;
    return from.shard !== 0;
  }
}

/** Less than any age: there is no next one. */
const YOUNGEST = -(2 ** 30);

/** One queue over all shards: its size, and the location of its oldest record. */
class Oldest {
  units = 0;
  records = 0;
  /** 0 = the queue is empty in every shard. */
  shard = 0;
  private age = 0;
  nextAge = 0;

  constructor(
    private readonly control: Int32Array,
    readonly queue: Queue,
  ) {}

  reset(): void {
    this.units = 0;
    this.records = 0;
    this.shard = 0;
    this.age = 0;
    this.nextAge = 0;
  }

  see(shard: number, now: number): void {
    const chain = shard + this.queue;
    if (this.control[chain + CHAIN_TAIL] === 0) return;
    this.units += this.control[chain + CHAIN_LIVE_UNITS]!;
    this.records += this.control[chain + CHAIN_RECORDS]!;
    const age = (now - this.control[chain + CHAIN_BORN]!) | 0;
    if (this.shard === 0 || age > this.age) {
      this.nextAge = this.shard === 0 ? YOUNGEST : this.age;
      this.shard = shard;
      this.age = age;
    } else if (age > this.nextAge) this.nextAge = age;
  }
}
