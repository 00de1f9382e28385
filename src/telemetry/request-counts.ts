/**
 * Number and duration of requests of all threads of a node, in shared memory.
 *
 * Each thread writes only its own region, with plain arithmetic; a reader adds up the regions. A reader may see a count
 * without the matching sum, which is negligible in statistics.
 */

import { BUCKETS, bucketOf, type Exemplar, type LatencyHistogram } from "./latency-buckets.ts";
import type { LatencyFamily, LatencyPoint, MetricFamily } from "./metric-family.ts";
import { OPERATION_NAMES, type Operation, RESULT_NAMES, type Result, resultOf } from "./operations.ts";

// A region, in Float64: one series after the other, then the series of the event loop's delay.
/** A series: one count per bucket, followed by: */
const SUM_MS = BUCKETS;
const SERIES_NUMBERS = BUCKETS + 1;
const RESULTS = RESULT_NAMES.length;
const REQUEST_SERIES = OPERATION_NAMES.length * RESULTS;
const LOOP_SERIES = REQUEST_SERIES;
/** Open connections. */
const CONNECTIONS = (LOOP_SERIES + 1) * SERIES_NUMBERS;
/** Outcomes of spans. */
const SPANS_EXPORTED = CONNECTIONS + 1;
const SPANS_DROPPED = SPANS_EXPORTED + 1;
const SPANS_FAILED = SPANS_DROPPED + 1;
const REGION_NUMBERS = SPANS_FAILED + 1;

// Exemplars, in Int32, one per request series: trace id, span id, duration and time.
/** Odd while the exemplar is being written. */
const EXEMPLAR_TURN = 0;
const EXEMPLAR_IDS = 1;
const ID_WORDS = 6;
const EXEMPLAR_MICROS = EXEMPLAR_IDS + ID_WORDS;
const EXEMPLAR_UNIX_S = EXEMPLAR_MICROS + 1;
const EXEMPLAR_WORDS = EXEMPLAR_UNIX_S + 1;
const TRACE_ID_DIGITS = 32;

/** Structured-cloneable. */
export interface RequestCountsHandle {
  readonly threads: number;
  readonly numbers: SharedArrayBuffer;
  readonly exemplars: SharedArrayBuffer;
}

export function makeRequestCounts(threads: number): RequestCountsHandle {
  return {
    threads,
    numbers: new SharedArrayBuffer(threads * REGION_NUMBERS * Float64Array.BYTES_PER_ELEMENT),
    exemplars: new SharedArrayBuffer(threads * REQUEST_SERIES * EXEMPLAR_WORDS * Int32Array.BYTES_PER_ELEMENT),
  };
}

/** One thread's region. */
export class RequestCounts {
  readonly #numbers: Float64Array;
  readonly #exemplars: Int32Array;

  constructor(handle: RequestCountsHandle, thread: number) {
    if (thread < 0 || thread >= handle.threads) throw new RangeError(`there is no thread ${thread}`);
    this.#numbers = new Float64Array(handle.numbers, thread * REGION_NUMBERS * 8, REGION_NUMBERS);
    const words = REQUEST_SERIES * EXEMPLAR_WORDS;
    this.#exemplars = new Int32Array(handle.exemplars, thread * words * 4, words);
  }

  /** Counts an answered request. */
  add(operation: Operation, status: number, wasLoaded: boolean, durationMs: number): void {
    this.#count(seriesOf(operation, resultOf(operation, status, wasLoaded)), durationMs);
  }

  /** Records the trace of a counted request as an exemplar. */
  addExemplar(operation: Operation, status: number, wasLoaded: boolean, exemplar: Exemplar): void {
    const { traceId, spanId, seconds, unixMs } = exemplar;
    const words = this.#exemplars;
    const at = seriesOf(operation, resultOf(operation, status, wasLoaded)) * EXEMPLAR_WORDS;
    Atomics.add(words, at + EXEMPLAR_TURN, 1);
    const ids = traceId + spanId;
    for (let word = 0; word < ID_WORDS; word++) {
      words[at + EXEMPLAR_IDS + word] = Number.parseInt(ids.slice(word * 8, word * 8 + 8), 16);
    }
    words[at + EXEMPLAR_MICROS] = Math.round(seconds * 1e6);
    words[at + EXEMPLAR_UNIX_S] = Math.floor(unixMs / 1000);
    Atomics.add(words, at + EXEMPLAR_TURN, 1);
  }

  /** Records how much later than scheduled a timer of this thread ran. */
  addLoopDelay(delayMs: number): void {
    this.#count(LOOP_SERIES, delayMs);
  }

  setConnections(count: number): void {
    this.#numbers[CONNECTIONS] = count;
  }

  /** Adds to the counts of span outcomes. */
  addSpans({ exported = 0, dropped = 0, failed = 0 }: { exported?: number; dropped?: number; failed?: number }): void {
    const numbers = this.#numbers;
    numbers[SPANS_EXPORTED] = (numbers[SPANS_EXPORTED] ?? 0) + exported;
    numbers[SPANS_DROPPED] = (numbers[SPANS_DROPPED] ?? 0) + dropped;
    numbers[SPANS_FAILED] = (numbers[SPANS_FAILED] ?? 0) + failed;
  }

  #count(series: number, durationMs: number): void {
    const numbers = this.#numbers;
    const start = series * SERIES_NUMBERS;
    const bucket = start + bucketOf(durationMs);
    numbers[bucket] = (numbers[bucket] ?? 0) + 1;
    numbers[start + SUM_MS] = (numbers[start + SUM_MS] ?? 0) + durationMs;
  }
}

/** The families of all threads together. */
export function requestFamilies(handle: RequestCountsHandle): MetricFamily[] {
  const regions = Array.from(
    { length: handle.threads },
    (_, thread) => new Float64Array(handle.numbers, thread * REGION_NUMBERS * 8, REGION_NUMBERS),
  );
  const sum = (at: number) => regions.reduce((total, region) => total + (region[at] ?? 0), 0);
  return [
    requestDurations(handle, regions),
    loopDelays(regions),
    {
      kind: "gauge",
      name: "servcache.connections",
      unit: "{connection}",
      help: "Connections of clients that are open.",
      points: [{ attributes: {}, value: sum(CONNECTIONS) }],
    },
    {
      kind: "counter",
      name: "servcache.spans",
      unit: "{span}",
      help: "Spans by what became of them: dropped = there was no room for them.",
      points: [
        { attributes: { outcome: "exported" }, value: sum(SPANS_EXPORTED) },
        { attributes: { outcome: "dropped" }, value: sum(SPANS_DROPPED) },
        { attributes: { outcome: "failed" }, value: sum(SPANS_FAILED) },
      ],
    },
  ];
}

function requestDurations(handle: RequestCountsHandle, regions: readonly Float64Array[]): LatencyFamily {
  const points: LatencyPoint[] = [];
  for (const [operation, operationName] of OPERATION_NAMES.entries()) {
    for (const [result, resultName] of RESULT_NAMES.entries()) {
      const series = seriesOf(operation, result);
      const histogram = summed(regions, series, newestExemplar(handle, series));
      if (histogram.count === 0) continue;
      points.push({ attributes: { operation: operationName, result: resultName }, histogram });
    }
  }
  return {
    kind: "histogram",
    name: "http.server.request.duration",
    unit: "s",
    help: "Time from a whole request to its whole answer.",
    points,
  };
}

function loopDelays(regions: readonly Float64Array[]): LatencyFamily {
  const points = regions.flatMap((region, thread): LatencyPoint[] => {
    const histogram = summed([region], LOOP_SERIES, null);
    return histogram.count === 0 ? [] : [{ attributes: { thread: String(thread) }, histogram }];
  });
  return {
    kind: "histogram",
    name: "servcache.event_loop.delay",
    unit: "s",
    help: "How much later than asked for timers of a thread ran.",
    points,
  };
}

function summed(regions: readonly Float64Array[], series: number, exemplar: Exemplar | null): LatencyHistogram {
  const start = series * SERIES_NUMBERS;
  const counts = new Array<number>(BUCKETS).fill(0);
  let count = 0;
  let sumMs = 0;
  for (const region of regions) {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const here = region[start + bucket] ?? 0;
      counts[bucket] = (counts[bucket] ?? 0) + here;
      count += here;
    }
    sumMs += region[start + SUM_MS] ?? 0;
  }
  return { counts, count, sumSeconds: sumMs / 1000, exemplar };
}

function newestExemplar(handle: RequestCountsHandle, series: number): Exemplar | null {
  let newest: Exemplar | null = null;
  for (let thread = 0; thread < handle.threads; thread++) {
    const start = (thread * REQUEST_SERIES + series) * EXEMPLAR_WORDS * 4;
    const found = readExemplar(new Int32Array(handle.exemplars, start, EXEMPLAR_WORDS));
    if (found !== null && (newest === null || found.unixMs > newest.unixMs)) newest = found;
  }
  return newest;
}

/** Null if there is none, or if it is being rewritten: the next scrape has it. */
function readExemplar(words: Int32Array): Exemplar | null {
  const turn = Atomics.load(words, EXEMPLAR_TURN);
  if (turn === 0 || turn % 2 !== 0) return null;
  const ids = Array.from(words.slice(EXEMPLAR_IDS, EXEMPLAR_IDS + ID_WORDS), (word) =>
    (word >>> 0).toString(16).padStart(8, "0"),
  ).join("");
  const seconds = (words[EXEMPLAR_MICROS] ?? 0) / 1e6;
  const unixMs = ((words[EXEMPLAR_UNIX_S] ?? 0) >>> 0) * 1000;
  if (Atomics.load(words, EXEMPLAR_TURN) !== turn) return null;
  return { traceId: ids.slice(0, TRACE_ID_DIGITS), spanId: ids.slice(TRACE_ID_DIGITS), seconds, unixMs };
}

function seriesOf(operation: Operation, result: Result): number {
  return operation * RESULTS + result;
}
