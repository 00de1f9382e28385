const COLOURS: Readonly<Record<string, number>> = { warn: 33, error: 31, fatal: 31, debug: 90, trace: 90 };
const PLAIN = 32;
const TIME_START = "2024-01-01T".length;
const TIME_END = TIME_START + "00:00:00.000".length;

/** Formats a JSON log line for a terminal. */
export function prettyLine(line: string): string {
  const { level, time, message, ...fields }: Record<string, unknown> = JSON.parse(line);
  const word = String(level).toUpperCase().padEnd(5);
  const more = Object.entries(fields).map(([name, value]) => ` \u001b[90m${name}=\u001b[0m${JSON.stringify(value)}`);
  const colour = COLOURS[String(level)] ?? PLAIN;
  return `${String(time).slice(TIME_START, TIME_END)} \u001b[${colour}m${word}\u001b[0m ${message}${more.join("")}\n`;
}
