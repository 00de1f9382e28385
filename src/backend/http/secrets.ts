/**
 * What must not be seen of a backend's URL: user, password, and what its query holds. A service may answer with the address
 * that it was asked for, and a client may put it into its errors.
 */
export class UrlSecrets {
  readonly #texts: readonly string[];

  constructor({ username, password, search, searchParams }: URL) {
    const encoded = [search.slice(1), username, password];
    const texts = [...encoded, ...encoded.map(decoded), ...searchParams.values()];
    const authorization = Buffer.from(`${decoded(username)}:${decoded(password)}`).toString("base64");
    // The longest first: a shorter one may be a part of it.
    this.#texts = [...new Set([...texts, ...[...searchParams.values()].map(encodeURIComponent), authorization])]
      .filter((text) => text.length > 1)
      .sort((one, other) => other.length - one.length);
  }

  /** The text with `***` in place of each of them. */
  hide(text: string): string {
    return this.#texts.reduce((hidden, secret) => hidden.replaceAll(secret, "***"), text);
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
