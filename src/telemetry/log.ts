/** The log of a node: JSON lines, or readable lines on a terminal. */

import pino from "pino";
import { prettyLine } from "./pretty-line.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** The fields of a log line. They never contain cached values or secrets. */
type LogFields = Readonly<Record<string, string | number | boolean | null>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  /** Logged at once; repetitions are logged once per period with their count. */
  warn(message: string, fields?: LogFields): void;
  /** Like `warn`, at level error. */
  error(message: string, fields?: LogFields): void;
  /** Writes the repetitions that are still held back. */
  flush(): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Readable lines instead of JSON. */
  readonly isPretty: boolean;
  /** Receives each line with its line feed. */
  readonly write: (line: string) => void;
  /** Ms since the Unix epoch. */
  readonly nowMs: () => number;
  /** Logged with each message. */
  readonly thread?: number;
}

/** A repeated warning is logged again after this time. */
const PERIOD_MS = 60_000;
/** The most warnings whose repetitions are held back; further ones are always logged. */
const MOST_REMEMBERED = 1_000;

export function createLog(options: LogOptions): Log {
  return new PinoLog(options);
}

interface Repeated {
  readonly level: "warn" | "error";
  readonly message: string;
  readonly sinceMs: number;
  count: number;
  /** The fields of the last repetition. */
  fields: LogFields;
}

class PinoLog implements Log {
  readonly #pino: pino.Logger;
  readonly #repeated = new Map<string, Repeated>();
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly options: LogOptions) {
    const { level, isPretty, write, nowMs, thread } = options;
    const settings: pino.LoggerOptions = {
      level,
      base: thread === undefined ? null : { thread },
      messageKey: "message",
      timestamp: () => `,"time":"${new Date(nowMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    };
    this.#pino = pino(settings, { write: isPretty ? (line) => write(prettyLine(line)) : write });
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#pino.debug(fields, withoutSecrets(message));
  }

  info(message: string, fields: LogFields = {}): void {
    this.#pino.info(fields, withoutSecrets(message));
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#sayOnce("warn", message, fields);
  }

  error(message: string, fields: LogFields = {}): void {
    this.#sayOnce("error", message, fields);
  }

  flush(): void {
    this.#endPeriods(Number.POSITIVE_INFINITY);
  }

  #sayOnce(level: "warn" | "error", message: string, fields: LogFields): void {
    const nowMs = this.options.nowMs();
    this.#endPeriods(nowMs);
    const id = `${level} ${message}`;
    const known = this.#repeated.get(id);
    if (known !== undefined) {
      known.count += 1;
      known.fields = fields;
      return;
    }
    this.#pino[level](fields, withoutSecrets(message));
    if (this.#repeated.size === MOST_REMEMBERED) return;
    this.#repeated.set(id, { level, message, sinceMs: nowMs, count: 0, fields });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#endPeriods(this.options.nowMs());
      if (this.#repeated.size > 0) this.#schedule();
    }, PERIOD_MS);
    this.#timer.unref();
  }

  /** Entries are in order of arrival, the oldest first. */
  #endPeriods(nowMs: number): void {
    for (const [id, { level, message, sinceMs, count, fields }] of this.#repeated) {
      if (nowMs - sinceMs < PERIOD_MS) return;
      this.#repeated.delete(id);
      if (count > 0) this.#pino[level]({ ...fields, repeated: count }, withoutSecrets(message));
    }
  }
}

/** Removes the credentials before the `@` of a URL. */
function withoutSecrets(text: string): string {
  return text.replace(/\/\/[^/\s]*@/g, "//…@");
}
