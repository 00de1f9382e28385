import { WireError } from "./wire-error.ts";

/** The head of a message, all but its mutations: JSON, read with checks. */
export class MessageHead {
  readonly #members: ReadonlyMap<string, unknown>;

  private constructor(members: ReadonlyMap<string, unknown>) {
    this.#members = members;
  }

  /** Throws `WireError`. */
  static parse(text: string): MessageHead {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new WireError("the head of the message is not JSON");
    }
    if (typeof parsed !== "object" || parsed === null) throw new WireError("the head of the message is not an object");
    return new MessageHead(new Map(Object.entries(parsed)));
  }

  /** A safe integer from 0 on. */
  number(name: string): number {
    const value = this.#members.get(name);
    if (!isCount(value)) throw new WireError(`the message has no number "${name}"`);
    return value;
  }

  numberOrNull(name: string): number | null {
    const value = this.#members.get(name);
    return isCount(value) ? value : null;
  }

  textOrNull(name: string): string | null {
    const value = this.#members.get(name);
    return typeof value === "string" ? value : null;
  }

  /** Empty if there is no such member. */
  numbers(name: string): number[] {
    const value = this.#members.get(name) ?? [];
    if (!Array.isArray(value) || !value.every(isCount)) throw new WireError(`"${name}" is not a list of numbers`);
    return value;
  }

  flag(name: string): boolean {
    return this.#members.get(name) === true;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
