/**
 * Which keys the user's own SQL can mean. A part that is compared with a number must be that number in its one usual
 * form: databases read `1abc`, `01` and `1.0` as 1, and one row would have many keys.
 */

/** How a parameter is read by the database: as this type, or as text. */
export type PartType = "text" | "numeric" | "uuid" | "date" | IntegerRange;

export interface IntegerRange {
  readonly min: bigint;
  readonly max: bigint;
}

export const INT64: IntegerRange = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
export const UINT64: IntegerRange = { min: 0n, max: 2n ** 64n - 1n };
export const INT32: IntegerRange = { min: -(2n ** 31n), max: 2n ** 31n - 1n };
export const INT16: IntegerRange = { min: -(2n ** 15n), max: 2n ** 15n - 1n };

const INTEGER = /^(0|-?[1-9][0-9]{0,19})$/;
const NUMERIC = /^(0|-?(0\.[0-9]*[1-9]|[1-9][0-9]*(\.[0-9]*[1-9])?))$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const DATE = /^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$/;

/** What is wrong with the text as such a value; empty = nothing. */
export function typeProblem(text: string, type: PartType): string {
  if (type === "text") return "";
  const shown = JSON.stringify(text.slice(0, 100));
  if (type === "numeric") return NUMERIC.test(text) ? "" : `${shown} is no number in its shortest form`;
  if (type === "uuid") return UUID.test(text) ? "" : `${shown} is no UUID in lower case`;
  if (type === "date") return DATE.test(text) ? "" : `${shown} is no date such as 2026-01-31`;
  const isInteger = INTEGER.test(text) && BigInt(text) >= type.min && BigInt(text) <= type.max;
  return isInteger ? "" : `${shown} is no integer from ${type.min} to ${type.max}, written without leading zeros`;
}

/** What is bound for a text that has no problem: an integer as one, so that no text is compared with numbers. */
export function boundAs(text: string, type: PartType): string | number | bigint {
  if (typeof type === "string") return text;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}
