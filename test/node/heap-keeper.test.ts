import { expect, test } from "bun:test";
import { type Heap, HeapKeeper } from "../../src/node/heap-keeper.ts";

const MIB = 1024 ** 2;

/** A heap of which the test says how much is garbage. */
class FakeHeap implements Heap {
  liveBytes = 1_000 * MIB;
  youngGarbage = 0;
  oldGarbage = 0;
  readonly collected: string[] = [];

  sizeBytes(): number {
    return this.liveBytes + this.youngGarbage + this.oldGarbage;
  }

  collectYoung(): void {
    this.collected.push("young");
    this.youngGarbage = 0;
  }

  collectAll(): void {
    this.collected.push("all");
    this.youngGarbage = 0;
    this.oldGarbage = 0;
  }
}

test("garbage is collected by its amount, however large the heap is", () => {
  const heap = new FakeHeap();
  const keeper = new HeapKeeper(heap, 8 * 1024 ** 3);
  heap.youngGarbage = 7 * MIB;
  keeper.look();
  expect(heap.collected).toEqual([]);
  heap.youngGarbage = 9 * MIB;
  keeper.look();
  expect(heap.collected).toEqual(["young"]);
  keeper.look();
  expect(heap.collected).toEqual(["young"]);
  keeper.stop();
});

test("everything is collected when the young ones' collection leaves too much", () => {
  const heap = new FakeHeap();
  const keeper = new HeapKeeper(heap, 8 * 1024 ** 3);
  for (let round = 0; round < 10; round++) {
    heap.youngGarbage = 8 * MIB;
    heap.oldGarbage += 10 * MIB;
    keeper.look();
  }
  expect(heap.collected.filter((kind) => kind === "all")).toHaveLength(2);
  keeper.stop();
});

test("a heap that shrinks by itself counts from where it is", () => {
  const heap = new FakeHeap();
  const keeper = new HeapKeeper(heap, 8 * 1024 ** 3);
  heap.liveBytes = 10 * MIB;
  keeper.look();
  heap.youngGarbage = 9 * MIB;
  keeper.look();
  expect(heap.collected).toEqual(["young"]);
  keeper.stop();
});

test("a heap that grows fast is looked at more often than one that rests", () => {
  const heap = new FakeHeap();
  const keeper = new HeapKeeper(heap, 8 * 1024 ** 3);
  const resting = [keeper.look(), keeper.look(), keeper.look(), keeper.look()];
  expect(resting).toEqual([80, 160, 320, 320]);
  heap.youngGarbage = 6 * MIB;
  // 6 MiB in 320 ms: the 2 MiB that are left last for a third of that.
  expect(keeper.look()).toBeCloseTo(320 / 3);
  heap.youngGarbage = 9 * MIB;
  keeper.look();
  heap.youngGarbage = 100 * MIB;
  expect(keeper.look()).toBe(40);
  keeper.stop();
});
