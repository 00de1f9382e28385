/** Which keys an invalidation or a scan is about. */

/** Which keys a call is about. `matches` looks at `bytes[start .. end)`, UTF-8. */
export interface KeyPattern {
  /** The glob as the user wrote it. */
  readonly text: string;
  matches(bytes: Buffer, start: number, end: number): boolean;
}

export const EVERYTHING: KeyPattern = { text: "*", matches: () => true };
