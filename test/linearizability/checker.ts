/**
 * Whether a history of calls can be put in one order that each client could have seen: per key, each call at one moment
 * between its start and its end.
 *
 * The search is that of J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (1993), over a list of starts and
 * ends from which chosen calls are lifted; states that were reached before by the same set of calls are not searched
 * again, which is from G. Lowe, "Testing for Linearizability" (2017). Keys are independent of each other, so each is
 * searched alone. A set of calls is known by the XOR of random words (Zobrist hashing).
 *
 * A write of unknown outcome is placed only where a call sees it: right before that. Anywhere else it changes nothing
 * that anybody sees. So outages, with many of them, cost no more than quiet times.
 */
import { randomOf } from "../support/random.ts";
import { type Operation, type RegisterRules, type State, step, storedBy } from "./register.ts";

export interface Violation {
  readonly key: string;
  /** The calls of the key up to the first that fits into no order, in the order of their ends. */
  readonly calls: readonly Operation[];
}

/** A start or an end in the list. */
interface Event {
  readonly at: number;
  readonly ms: number;
  readonly isStart: boolean;
  previous: Event | null;
  next: Event | null;
  /** Of a start. */
  readonly end: Event | null;
}

/** A call that was placed, and what was before it. */
interface Placed {
  readonly start: Event;
  readonly state: State;
  readonly options: readonly State[];
  readonly chosen: number;
  /** The write of unknown outcome that it sees, which was placed before it; null = none. */
  readonly seen: number | "delete" | null;
}

/** The first violation of each key that has one. */
export function violations(history: readonly Operation[], rules: RegisterRules): Violation[] {
  const found: Violation[] = [];
  for (const [key, operations] of Map.groupBy(history, (operation) => operation.key)) {
    if (isLinearizable(operations, rules)) continue;
    found.push({ key, calls: shortestBadPrefix(operations, rules) });
  }
  return found;
}

/** Of the calls of one key. */
export function isLinearizable(operations: readonly Operation[], rules: RegisterRules): boolean {
  return new Search(operations, rules).run();
}

class Search {
  readonly #head: Event;
  readonly #words: Int32Array;
  readonly #visited = new Set<string>();
  readonly #ids = new StateIds();
  readonly #path: Placed[] = [];
  readonly #unknown: UnknownWrites;
  #state: State = null;
  #low = 0;
  #high = 0;

  constructor(
    private readonly operations: readonly Operation[],
    private readonly rules: RegisterRules,
  ) {
    this.#head = eventsOf(operations);
    this.#words = zobristWords(operations.length);
    this.#unknown = new UnknownWrites(operations);
  }

  run(): boolean {
    let event = this.#head.next;
    while (this.#head.next !== null) {
      if (event?.isStart === true) {
        event = this.#place(event, this.#optionsOf(event), 0) ? this.#head.next : event.next;
        continue;
      }
      // The end of a call that could not be placed before it: go back.
      const last = this.#path.pop();
      if (last === undefined) return false;
      this.#takeBack(last);
      // A read that changed nothing was right to be placed as soon as it could be: no later place does better.
      if (last.seen === null && last.options[0] === last.state && this.#isRead(last.start)) event = null;
      else event = this.#place(last.start, last, last.chosen + 1) ? this.#head.next : last.start.next;
    }
    return true;
  }

  #isRead(start: Event): boolean {
    return this.operations[start.at]?.call.kind === "get";
  }

  #optionsOf(start: Event): Pick<Placed, "options" | "seen"> {
    const operation = this.operations[start.at];
    if (operation === undefined) return { options: [], seen: null };
    const options = step(this.#state, operation, this.rules);
    if (options.length > 0) return { options, seen: null };
    const { call } = operation;
    const value = call.kind === "get" ? call.value : null;
    const seen = this.#unknown.find(value, this.#firstEndMs());
    if (seen === null) return { options, seen };
    return { options: step(this.#unknown.stateAfter(seen), operation, this.rules), seen };
  }

  /** Tries the options of a call from one on. False = none of them leads to something new. */
  #place(start: Event, { options, seen }: Pick<Placed, "options" | "seen">, from: number): boolean {
    this.#toggle(start.at);
    this.#use(seen, 1);
    for (let chosen = from; chosen < options.length; chosen++) {
      const after = options[chosen] ?? null;
      const place = `${this.#low},${this.#high},${this.#unknown.deletesUsed},${this.#ids.of(after)}`;
      if (this.#visited.has(place)) continue;
      this.#visited.add(place);
      this.#path.push({ start, state: this.#state, options, chosen, seen });
      this.#state = after;
      lift(start);
      return true;
    }
    this.#toggle(start.at);
    this.#use(seen, -1);
    return false;
  }

  #takeBack({ start, state, seen }: Placed): void {
    unlift(start);
    this.#toggle(start.at);
    this.#use(seen, -1);
    this.#state = state;
  }

  #use(seen: Placed["seen"], by: 1 | -1): void {
    if (seen === null) return;
    this.#unknown.use(seen, by);
    if (seen !== "delete") this.#toggle(seen);
  }

  #toggle(at: number): void {
    this.#low ^= this.#words[2 * at] ?? 0;
    this.#high ^= this.#words[2 * at + 1] ?? 0;
  }

  /** What is placed now happens before this. */
  #firstEndMs(): number {
    let event = this.#head.next;
    while (event?.isStart === true) event = event.next;
    return event?.ms ?? Number.POSITIVE_INFINITY;
  }
}

/** Writes that may happen at any time after their start, once, or never. */
class UnknownWrites {
  deletesUsed = 0;
  readonly #puts = new Map<string, { readonly at: number; isUsed: boolean }>();
  readonly #byNumber = new Map<number, { isUsed: boolean }>();
  readonly #deletesFromMs: number[] = [];

  constructor(private readonly operations: readonly Operation[]) {
    for (const [at, { call, startMs, outcome }] of operations.entries()) {
      if (outcome === "done" || call.kind === "get") continue;
      if (call.kind === "delete" || call.kind === "clear") {
        this.#deletesFromMs.push(startMs);
        continue;
      }
      const put = { at, isUsed: false };
      this.#puts.set(call.value, put);
      this.#byNumber.set(at, put);
    }
    this.#deletesFromMs.sort((a, b) => a - b);
  }

  /** One that leaves this value (null = none), has begun by then, and was not placed before. */
  find(value: string | null, untilMs: number): Placed["seen"] {
    if (value === null) {
      const next = this.#deletesFromMs[this.deletesUsed];
      return next !== undefined && next <= untilMs ? "delete" : null;
    }
    const put = this.#puts.get(value);
    if (put === undefined || put.isUsed) return null;
    return (this.operations[put.at]?.startMs ?? 0) <= untilMs ? put.at : null;
  }

  stateAfter(seen: number | "delete"): State {
    const operation = seen === "delete" ? undefined : this.operations[seen];
    const call = operation?.call;
    if (operation === undefined || (call?.kind !== "put" && call?.kind !== "add")) return null;
    const { startMs, endMs } = operation;
    return storedBy(call.value, call.ttlMs, startMs, endMs);
  }

  use(seen: number | "delete", by: 1 | -1): void {
    if (seen === "delete") {
      this.deletesUsed += by;
      return;
    }
    const put = this.#byNumber.get(seen);
    if (put !== undefined) put.isUsed = by === 1;
  }
}

function eventsOf(operations: readonly Operation[]): Event {
  const events: Event[] = [];
  for (const [at, { startMs, endMs, outcome }] of operations.entries()) {
    if (outcome === "unknown") continue;
    const end: Event = { at, ms: endMs, isStart: false, previous: null, next: null, end: null };
    events.push({ at, ms: startMs, isStart: true, previous: null, next: null, end }, end);
  }
  // Of what has the same time, starts come first: the calls may have run at the same time.
  events.sort((a, b) => a.ms - b.ms || Number(b.isStart) - Number(a.isStart));
  const head: Event = { at: -1, ms: 0, isStart: true, previous: null, next: null, end: null };
  let last = head;
  for (const event of events) {
    last.next = event;
    event.previous = last;
    last = event;
  }
  return head;
}

function lift(start: Event): void {
  for (const event of [start, start.end]) {
    if (event === null) continue;
    if (event.previous !== null) event.previous.next = event.next;
    if (event.next !== null) event.next.previous = event.previous;
  }
}

/** In the opposite order of `lift`. */
function unlift(start: Event): void {
  for (const event of [start.end, start]) {
    if (event === null) continue;
    if (event.previous !== null) event.previous.next = event;
    if (event.next !== null) event.next.previous = event;
  }
}

function zobristWords(count: number): Int32Array {
  const random = randomOf(count);
  return Int32Array.from({ length: 2 * count }, () => random() * 2 ** 32);
}

class StateIds {
  readonly #ids = new Map<string, number>();

  of(state: State): number {
    if (state === null) return 0;
    const text = state.expiry === null ? state.value : `${state.value} ${state.expiry.fromMs} ${state.expiry.untilMs}`;
    const id = this.#ids.get(text) ?? this.#ids.size + 1;
    this.#ids.set(text, id);
    return id;
  }
}

/** By halves: what was no order stays none with more calls. What had not ended by then has an unknown outcome. */
function shortestBadPrefix(operations: readonly Operation[], rules: RegisterRules): readonly Operation[] {
  const ended = operations.filter((operation) => operation.outcome === "done").sort((a, b) => a.endMs - b.endMs);
  const prefix = (count: number): Operation[] => {
    const untilMs = ended[count - 1]?.endMs ?? 0;
    return operations
      .filter((operation) => operation.startMs <= untilMs)
      .map((operation) => (operation.endMs <= untilMs ? operation : { ...operation, outcome: "unknown" as const }));
  };
  let good = 0;
  let bad = ended.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (isLinearizable(prefix(middle), rules)) good = middle;
    else bad = middle;
  }
  return prefix(bad).sort((a, b) => a.endMs - b.endMs);
}
