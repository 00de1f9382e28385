/**
 * Warnings at the start, one line each, about settings that have no effect or probably do not mean what was intended.
 */

import { type Address, isLoopback } from "./address.ts";
import { backendOptions, outboxOptions } from "./backend-options.ts";
import type { FlagValues } from "./flags.ts";
import { type Option, variablesOf } from "./option.ts";
import { options } from "./options.ts";
import { peerOptions } from "./peer-options.ts";
import { redisOptions } from "./redis-options.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const OWN_PREFIX = "SERV_CACHE_";
/**
 * A variable without our prefix counts as a misspelt one of ours up to this many typing errors, and from this length
 * on.
 */
const MOST_SLIPS = 2;
const LEAST_LENGTH = 8;
/** A name is suggested only if at most this share of the text after our prefix differs. */
const MOST_DIFFERENT = 1 / 3;

export function openAddress(address: Address): string[] {
  if (isLoopback(address)) return [];
  return [
    "there is no authentication: anyone who can reach the address of this node can read, write and delete all entries; " +
      "restrict access to it by a firewall or a private network, or listen on 127.0.0.1",
  ];
}

/** Null = not set. */
interface WhatIsSet {
  readonly redis: object | null;
  readonly backend: object | null;
  readonly peers: object | null;
}

/** Options without effect, because their parent option is not set. */
export function withoutEffect(config: WhatIsSet, flags: FlagValues, env: Environment): string[] {
  const { redisUrl, ...ofRedis } = redisOptions;
  const { backendUrl, ...ofBackend } = backendOptions;
  const { peers, ...ofPeers } = peerOptions;
  const isLinked = config.backend !== null || config.peers !== null;
  const told = (children: object, why: string, isSet: boolean): string[] => {
    if (isSet) return [];
    const names = Object.values(children).flatMap((option: Option<unknown>) => namesSet(option, flags, env));
    return names.map((name) => `${name} is set, but ${why}: it has no effect`);
  };
  return [
    ...told(ofRedis, `${redisUrl.env} is not`, config.redis !== null),
    ...told(ofBackend, `${backendUrl.env} is not`, config.backend !== null),
    ...told(ofPeers, `${peers.env} is not`, config.peers !== null),
    ...told(outboxOptions, `neither ${backendUrl.env} nor ${peers.env} is`, isLinked),
  ];
}

function namesSet(option: Option<unknown>, flags: FlagValues, env: Environment): string[] {
  const flag = option.flags.find((name) => flags.has(name));
  if (flag !== undefined) return [`--${flag}`];
  return variablesOf(option).filter((name) => (env[name] ?? "") !== "");
}

/** Unknown variables that resemble ours, each with the name that was probably meant. */
export function unknownVariables(env: Environment): string[] {
  const known = Object.values(options).flatMap((option) => variablesOf(option));
  const lines: string[] = [];
  for (const name of Object.keys(env).sort()) {
    if (env[name] === "" || known.includes(name)) continue;
    const [nearest, slips] = nearestOf(name, known);
    const isOurs = name.startsWith(OWN_PREFIX);
    if (!isOurs && (name.length < LEAST_LENGTH || slips > MOST_SLIPS)) continue;
    const advice = slips <= name.replace(OWN_PREFIX, "").length * MOST_DIFFERENT ? `; did you mean ${nearest}?` : "";
    lines.push(`${name} is set, but ServCache knows no such variable: it has no effect${advice}`);
  }
  return lines;
}

function nearestOf(name: string, known: readonly string[]): readonly [string, number] {
  let nearest = "";
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const slips = slipsBetween(name, candidate);
    if (slips >= least) continue;
    nearest = candidate;
    least = slips;
  }
  return [nearest, least];
}

/** The number of characters that are superfluous, missing, wrong or swapped (optimal string alignment). */
function slipsBetween(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let slips = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        slips = Math.min(slips, (before[j - 2] ?? 0) + 1);
      row.push(slips);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
