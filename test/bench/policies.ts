import type { Policy, PolicyFactory, Requests } from "../../bench/simulators/policy.ts";

/** Requests for keys written as letters: a = 0, b = 1 … */
export function letters(text: string): Requests {
  const keys = Int32Array.from(text, (letter) => letter.charCodeAt(0) - "a".charCodeAt(0));
  return { keys, distinct: Math.max(0, ...keys) + 1 };
}

/** Replays letters; gives `H` for each hit and `.` for each miss. */
export function outcomes(factory: PolicyFactory, capacity: number, text: string): string {
  const requests = letters(text);
  const policy: Policy = factory(capacity, requests);
  return Array.from(requests.keys, (key) => (policy.request(key) ? "H" : ".")).join("");
}
