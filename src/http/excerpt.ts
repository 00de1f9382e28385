/** What of a client's text an error quotes at most: an answer must not grow with what is wrong in a request. */
const MAX_CHARACTERS = 100;

/** Bytes of UTF-8 whose text is longer than an excerpt, so that a character that their end cuts is not in it. */
export const EXCERPT_SOURCE_BYTES = MAX_CHARACTERS * 4;

/** The beginning of a text, with an ellipsis where more follows. */
export function excerpt(text: string): string {
  if (text.length <= MAX_CHARACTERS) return text;
  // Half of a surrogate pair is no character.
  return `${text.slice(0, MAX_CHARACTERS).replace(/[\ud800-\udbff]$/, "")}…`;
}

/** As `excerpt`, in quotes and with escapes. */
export function quoted(text: string): string {
  return JSON.stringify(excerpt(text));
}
