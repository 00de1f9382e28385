/**
 * Short histories in which each message of the protocol in turn is lost, late, doubled or overtaken, or its answer is lost.
 *
 * Mutants that these and `seeds.test.ts` find, each by hand:
 * - `Receiver`: `isKnown` always false: what both restarted nodes wrote is nowhere.
 * - `Receiver`: `isKnown` always true: an old put takes the place of a delete that a restarted node has forgotten.
 * - `OwnRows.note` appends nothing: the same, where the sender was restarted, too.
 * - `UnplacedPuts.settle` gives "done" without the move: what could not be placed is nowhere.
 * - `PeerQueue.addRowsOf` leaves the row in `unplaced` as it is: an older put comes after a newer one.
 */
import { describe, expect, test } from "bun:test";
import { Mesh } from "./mesh.ts";
import type { CallFault } from "./model-network.ts";

const FAULTS: readonly CallFault[] = ["request-lost", "answer-lost", "late", "doubled", "doubled-late"];
/** So many calls tell all of a history; later ones are heartbeats. */
const MOST_CALLS = 40;
const TIMEOUT_MS = 300_000;
const DAY_MS = 86_400_000;

type Step = (mesh: Mesh) => unknown;

const put =
  (node: number, key: string): Step =>
  (mesh) =>
    mesh.node(node).put(key, null);
const touch =
  (node: number, key: string, ttlMs: number | null): Step =>
  (mesh) =>
    mesh.node(node).touch(key, ttlMs);
const remove =
  (node: number, key: string): Step =>
  (mesh) =>
    mesh.node(node).remove(key);
const clear =
  (node: number, pattern: string | null): Step =>
  (mesh) =>
    mesh.node(node).invalidate(pattern);
const restart =
  (node: number): Step =>
  (mesh) =>
    mesh.restart(node);
const cut =
  (a: number, b: number): Step =>
  (mesh) =>
    mesh.cut(a, b);
const wait =
  (ms: number): Step =>
  (mesh) =>
    mesh.run(ms);
const heal: Step = (mesh) => mesh.network.healAll();

const HISTORIES: Readonly<Record<string, readonly Step[]>> = {
  "both write, both restart": [cut(1, 2), put(1, "x"), put(2, "y"), restart(1), restart(2), heal],
  "both write the same key, both restart": [cut(1, 2), put(1, "x"), put(2, "x"), restart(2), restart(1), heal],
  "one deletes what the other put, and both restart": [
    put(1, "x"),
    cut(1, 2),
    put(1, "x"),
    remove(2, "x"),
    restart(2),
    restart(1),
    heal,
  ],
  "one clears what the other put": [cut(1, 2), put(1, "x"), clear(2, null), put(2, "y"), restart(1), restart(2), heal],
  "its own clear comes after the put": [
    cut(1, 2),
    put(1, "x"),
    clear(1, "x*"),
    put(1, "y"),
    restart(2),
    restart(1),
    heal,
  ],
  "a newer put comes while the older can't be placed": [
    cut(1, 2),
    put(1, "x"),
    put(2, "y"),
    restart(2),
    heal,
    put(1, "x"),
    restart(2),
  ],
  "one touches what the other puts anew": [
    put(1, "x"),
    wait(1000),
    cut(1, 2),
    put(1, "x"),
    touch(2, "x", DAY_MS),
    heal,
  ],
  "one touches what the other deletes": [put(1, "x"), wait(1000), cut(1, 2), remove(1, "x"), touch(2, "x", null), heal],
  "one touches what the other clears, and both restart": [
    put(1, "x"),
    wait(1000),
    cut(1, 2),
    clear(1, "x*"),
    touch(2, "x", DAY_MS),
    restart(1),
    restart(2),
    heal,
  ],
  "two touch the same, one of them twice": [
    put(3, "x"),
    wait(1000),
    cut(1, 2),
    touch(1, "x", DAY_MS),
    touch(2, "x", null),
    touch(1, "x", 2 * DAY_MS),
    touch(2, "x", 3 * DAY_MS),
    heal,
  ],
  "a put is touched before all have it": [
    cut(1, 3),
    cut(2, 3),
    put(1, "x"),
    wait(500),
    touch(2, "x", DAY_MS),
    touch(1, "x", 2 * DAY_MS),
    heal,
  ],
  "a third clears what still waits for one of them": [
    cut(1, 2),
    put(1, "x"),
    clear(3, "x*"),
    restart(1),
    restart(2),
    heal,
  ],
  "the older can't be placed for long, and the newer is told and forgotten": [
    cut(1, 2),
    cut(1, 3),
    put(1, "x"),
    restart(2),
    (mesh) => mesh.network.heal("http://n1:1", "http://n2:1"),
    (mesh) => mesh.network.heal("http://n2:1", "http://n1:1"),
    wait(3000),
    put(1, "x"),
    wait(3000),
    restart(2),
    heal,
  ],
};

describe.each(Object.entries(HISTORIES))("where %s, whatever becomes of one message", (_name, steps) => {
  test.each(FAULTS)(
    "%s: all agree on the newest, and nothing is missing",
    async (fault) => {
      for (let call = 0; call <= MOST_CALLS; call++) {
        const mesh = new Mesh([{}, {}, {}]);
        await mesh.run(5000);
        const before = mesh.network.calls;
        mesh.network.faultOf = (number) => (call > 0 && number === before + call ? fault : null);
        for (const step of steps) {
          await step(mesh);
          await mesh.run(50);
        }
        expect({ call, faults: await mesh.settle(["x", "y"]) }).toEqual({ call, faults: [] });
        for (const key of ["x", "y"]) {
          expect(new Set(mesh.values(key).filter((value) => value !== null)).size).toBeLessThan(2);
          expect(new Set(mesh.expiries(key).filter((end) => end !== null)).size).toBeLessThan(2);
        }
      }
    },
    TIMEOUT_MS,
  );
});
