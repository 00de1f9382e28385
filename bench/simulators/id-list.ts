import { at } from "./policy.ts";

/** What `back`, `towardsFront` and `popBack` give where there is nothing. */
export const NONE = -1;

/** A doubly linked list of dense numbers in two typed arrays; every operation takes constant time. */
export class IdList {
  size = 0;
  #front = NONE;
  #back = NONE;
  readonly #towardsFront: Int32Array;
  readonly #towardsBack: Int32Array;
  readonly #member: Uint8Array;

  constructor(distinct: number) {
    this.#towardsFront = new Int32Array(distinct).fill(NONE);
    this.#towardsBack = new Int32Array(distinct).fill(NONE);
    this.#member = new Uint8Array(distinct);
  }

  get back(): number {
    return this.#back;
  }

  has(id: number): boolean {
    return this.#member[id] === 1;
  }

  /** The neighbour that was pushed after this one; `NONE` at the front. */
  towardsFront(id: number): number {
    return at(this.#towardsFront, id);
  }

  pushFront(id: number): void {
    this.#towardsFront[id] = NONE;
    this.#towardsBack[id] = this.#front;
    if (this.#front === NONE) this.#back = id;
    else this.#towardsFront[this.#front] = id;
    this.#front = id;
    this.#member[id] = 1;
    this.size++;
  }

  remove(id: number): void {
    const front = at(this.#towardsFront, id);
    const back = at(this.#towardsBack, id);
    if (front === NONE) this.#front = back;
    else this.#towardsBack[front] = back;
    if (back === NONE) this.#back = front;
    else this.#towardsFront[back] = front;
    this.#member[id] = 0;
    this.size--;
  }

  moveToFront(id: number): void {
    if (this.#front === id) return;
    this.remove(id);
    this.pushFront(id);
  }

  /** Takes the oldest out; `NONE` if the list is empty. */
  popBack(): number {
    const id = this.#back;
    if (id !== NONE) this.remove(id);
    return id;
  }
}
