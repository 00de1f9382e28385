/** How the queue's table changes; called within a transaction, and the counts go along. */
import { isNewer } from "../engine/engine.ts";
import { costBytes, type OutboxMutation, type Settlement } from "./entry.ts";
import type { InFlight } from "./in-flight.ts";
import type { OutboxStore } from "./outbox-store.ts";
import type { Tally } from "./tally.ts";

export class QueueChanges {
  #nextId: number;

  constructor(
    private readonly store: OutboxStore,
    private readonly inFlight: InFlight,
    private readonly nowMs: () => number,
  ) {
    this.#nextId = store.largestId() + 1;
  }

  settle(settlements: readonly Settlement[], tally: Tally): void {
    this.#removeDone(settlements, tally);
    for (const settlement of settlements) this.#applyOne(settlement, tally);
  }

  /** Queues a mutation, unless what waits of its key is as new. */
  append(mutation: OutboxMutation, tally: Tally): void {
    const { destination, key } = mutation;
    const cost = costBytes(mutation);
    const head = this.store.find(destination, key);
    if (head === null) {
      const id = this.#nextId++;
      this.store.insert(id, mutation, this.nowMs());
      tally.add(destination, { pending: 1, bytes: cost });
      // What was in flight of the key is gone from the queue, and still to be settled.
      const flight = this.inFlight.of(destination);
      if (flight.has(key)) flight.noteNewer(key, id);
      return;
    }
    if (!isNewer(mutation.stamp, head)) return;
    tally.add(destination, { bytes: cost - head.cost });
    const flight = this.inFlight.of(destination);
    if (this.store.isReady(head) && !flight.has(key)) {
      this.store.replace(head.id, mutation);
      return;
    }
    // In flight, delayed or dead: the newer one gets a place of its own.
    const id = this.#nextId++;
    this.store.remove(head.id);
    this.store.insert(id, mutation, this.nowMs());
    if (flight.has(key)) flight.noteNewer(key, id);
    if (this.store.isDead(head)) tally.add(destination, { dead: -1, pending: 1 });
  }

  /** All in one statement: this is what a drain does most. */
  #removeDone(settlements: readonly Settlement[], tally: Tally): void {
    const idsOf = new Map<string, number[]>();
    for (const { kind, entry } of settlements) {
      if (kind !== "done") continue;
      const ids = idsOf.get(entry.destination);
      if (ids === undefined) idsOf.set(entry.destination, [entry.id]);
      else ids.push(entry.id);
    }
    for (const [destination, ids] of idsOf) {
      const costs = this.store.removeAll(ids);
      tally.add(destination, { pending: -costs.length, bytes: -costs.reduce((sum, cost) => sum + cost, 0) });
    }
  }

  #applyOne(settlement: Settlement, tally: Tally): void {
    const { entry, kind } = settlement;
    const { destination, id, attempts } = entry;
    // Where nothing changes, the entry was replaced while it was in flight: the newer one waits for its own turn.
    if (kind === "released" || kind === "done") return;
    if (kind === "postponed") {
      this.store.delay(id, attempts, settlement.dueAtMs, settlement.reason);
    } else if (settlement.dueAtMs === null) {
      if (this.store.bury(id, attempts + 1, settlement.reason)) tally.add(destination, { pending: -1, dead: 1 });
    } else {
      this.store.delay(id, attempts + 1, settlement.dueAtMs, settlement.reason);
    }
  }
}
