import { byteAt, JsonError, skipSpace, skipValue } from "../../model/json-grammar.ts";
import { JsonObjectScanner, type JsonRange, type ValueReader } from "./json-scan.ts";

/** The most operations in a batch. */
export const MAX_OPERATIONS = 1_000;

const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;

/** Numbers stored per operation: start and end of five members. */
const FIELDS = 10;
const KEY = 0;
const OP = 2;
const VALUE = 4;
const TTL = 6;
const TAGS = 8;
const NO_OBJECT = -2;

/**
 * The operations of a batch, as positions in its body: recorded while the body is validated, before any operation runs.
 * One object serves all batches of a thread.
 */
export class BatchOperations implements ValueReader {
  /** Number of operations; may exceed the number stored (`MAX_OPERATIONS`). -1 = `operations` is not an array. */
  count = -1;
  // The members of the operation that `select` chose.
  readonly key: Place = new Place();
  readonly op: Place = new Place();
  readonly value: Place = new Place();
  readonly ttl: Place = new Place();
  readonly tags: Place = new Place();
  private readonly places = new Int32Array(MAX_OPERATIONS * FIELDS);
  private readonly scanner = new JsonObjectScanner();

  /** Discards the previous batch. */
  reset(): void {
    this.count = -1;
  }

  read(buffer: Buffer, start: number, end: number): number {
    this.count = -1;
    if (byteAt(buffer, start, end) !== OPEN_BRACKET) return skipValue(buffer, start, end);
    this.count = 0;
    let at = skipSpace(buffer, start + 1, end);
    if (byteAt(buffer, at, end) === CLOSE_BRACKET) return at + 1;
    for (;;) {
      at = skipSpace(buffer, this.readOperation(buffer, at, end), end);
      const byte = byteAt(buffer, at, end);
      if (byte === CLOSE_BRACKET) return at + 1;
      if (byte !== COMMA) throw new JsonError(at, "',' or ']'");
      at = skipSpace(buffer, at + 1, end);
    }
  }

  /** Selects an operation. False = it is not an object. */
  select(number: number): boolean {
    const first = number * FIELDS;
    if (this.places[first + KEY] === NO_OBJECT) return false;
    this.key.take(this.places, first + KEY);
    this.op.take(this.places, first + OP);
    this.value.take(this.places, first + VALUE);
    this.ttl.take(this.places, first + TTL);
    this.tags.take(this.places, first + TAGS);
    return true;
  }

  private readOperation(buffer: Buffer, start: number, end: number): number {
    const first = this.count * FIELDS;
    const isKept = this.count < MAX_OPERATIONS;
    this.count++;
    if (byteAt(buffer, start, end) !== OPEN_BRACE) {
      if (isKept) this.places[first + KEY] = NO_OBJECT;
      return skipValue(buffer, start, end);
    }
    const { scanner } = this;
    const after = scanner.scanAt(buffer, start, end);
    if (isKept) {
      this.keep(first + KEY, scanner.key);
      this.keep(first + OP, scanner.op);
      this.keep(first + VALUE, scanner.value);
      this.keep(first + TTL, scanner.ttl);
      this.keep(first + TAGS, scanner.tags);
    }
    return after;
  }

  private keep(at: number, range: JsonRange): void {
    this.places[at] = range.start;
    this.places[at + 1] = range.end;
  }
}

class Place implements JsonRange {
  start = -1;
  end = -1;

  take(places: Int32Array, at: number): void {
    this.start = places[at] ?? -1;
    this.end = places[at + 1] ?? -1;
  }
}
