export class ResponseTooLargeError extends Error {
  readonly code = "ERR_RESPONSE_TOO_LARGE";
}

/** Reads a response's body, and stops where it is longer than `limitBytes`. Throws `ResponseTooLargeError`. */
export async function readBody(response: Response, limitBytes: number): Promise<Buffer> {
  if (response.body === null) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks, length);
    length += value.length;
    if (length > limitBytes) {
      await reader.cancel();
      throw new ResponseTooLargeError(`the answer is longer than ${limitBytes} bytes`);
    }
    chunks.push(value);
  }
}
