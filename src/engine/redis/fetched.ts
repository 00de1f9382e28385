/** Entries as read from Redis: the conversion of the stored form, and the delivery to sinks. */
import { MAX_VALUE_BYTES, NEVER } from "../../model/entry.ts";
import { EngineRefusedError, type EntryInfo, type EntrySink } from "../engine.ts";
import { decodeStored, type StoredEntry } from "./stored-form.ts";

/** An entry that was read, and the time until which it is valid. */
export interface Fetched extends StoredEntry {
  readonly expiresAtMs: number;
}

/** The stored form of an entry as read, with the result of `PTTL`. */
export interface Reading {
  readonly stored: Buffer;
  readonly pttlMs: number;
}

export function fetchedFrom(reading: Reading | null, sentAtMs: number): Fetched | null {
  if (reading === null) return null;
  const { stored, pttlMs } = reading;
  const entry = decodeStored(stored);
  const valueBytes = entry.end - entry.start;
  if (valueBytes > MAX_VALUE_BYTES) throw tooLarge(valueBytes);
  // -1 = no expiry.
  const expiresAtMs = pttlMs === -1 ? NEVER : sentAtMs + Math.max(0, pttlMs);
  return { ...entry, expiresAtMs };
}

/** Passes an entry to a sink. */
export function deliver(fetched: Fetched | null, sink: EntrySink): boolean {
  if (fetched === null) return false;
  const { bytes, start, end, attributes, expiresAtMs, revision, stamp } = fetched;
  const entry: EntryInfo = { valueLength: end - start, attributes, expiresAtMs, revision, stamp };
  if (sink.begin(entry)) bytes.copy(sink.target, sink.offset, start, end);
  return true;
}

export function tooLarge(bytes: number): EngineRefusedError {
  const message = `the value in Redis has ${bytes} bytes, and an entry at most ${MAX_VALUE_BYTES}: delete it`;
  return new EngineRefusedError("ERR_TOO_LARGE", message);
}
