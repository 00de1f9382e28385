/** Parses and formats sizes in bytes: `512MiB`, `2GB`, `1.5g`, `65536`, and `40%` of a total. */

/** `k`, `kb` … are powers of 1000; `Ki`, `KiB` … powers of 1024, as in Kubernetes and IEC 80000-13. Case is ignored. */
const unitBytes: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["b", 1],
  ...["k", "m", "g", "t"].flatMap((letter, index): [string, number][] => [
    [letter, 1000 ** (index + 1)],
    [`${letter}b`, 1000 ** (index + 1)],
    [`${letter}i`, 1024 ** (index + 1)],
    [`${letter}ib`, 1024 ** (index + 1)],
  ]),
]);

const SIZE = /^(\d+(?:\.\d+)?) ?([a-z]*|%)$/i;

/** Whole bytes, rounded down; null if the text is not a size. A percentage (up to 100 %) is a share of `totalBytes`. */
export function parseByteSize(text: string, totalBytes: number): number | null {
  const match = SIZE.exec(text);
  if (match === null) return null;
  const amount = Number(match[1]);
  const unit = (match[2] ?? "").toLowerCase();
  if (unit === "%") return amount <= 100 ? Math.floor((amount / 100) * totalBytes) : null;

  const scale = unitBytes.get(unit);
  if (scale === undefined) return null;
  const bytes = Math.floor(amount * scale);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

const namedUnits: readonly (readonly [string, number])[] = [
  ["TiB", 1024 ** 4],
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
];

/** A readable size: `512MiB`, `5.9GiB`; at most one decimal, rounded down, so that a limit is never overstated. */
export function formatByteSize(bytes: number): string {
  for (const [unit, scale] of namedUnits) {
    if (bytes >= scale) return `${Math.floor((bytes / scale) * 10) / 10}${unit}`;
  }
  return `${bytes}B`;
}
