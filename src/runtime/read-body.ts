export class ResponseTooLargeError extends Error {
  readonly code = "ERR_RESPONSE_TOO_LARGE";
}

const FIRST_BYTES = 16 * 1024;

/**
 * Reads the body of a response of at most `limitBytes`, and frees the memory of its chunks at once. Throws
 * `ResponseTooLargeError`.
 */
export async function readBody(response: Response, limitBytes: number): Promise<Buffer> {
  if (response.body === null) return Buffer.alloc(0);
  const announced = Number(response.headers.get("content-length") ?? 0);
  if (announced > limitBytes) {
    await response.body.cancel();
    throw tooLarge(limitBytes);
  }
  let bytes: Buffer = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, announced));
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.length === length ? bytes : Buffer.from(bytes.subarray(0, length));
    if (length + value.length > limitBytes) {
      await reader.cancel();
      throw tooLarge(limitBytes);
    }
    if (length + value.length > bytes.length) bytes = grown(bytes, length + value.length, length);
    bytes.set(value, length);
    length += value.length;
    free(value);
  }
}

function grown(bytes: Buffer, neededBytes: number, length: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(Math.max(neededBytes, bytes.length * 2));
  bytes.copy(larger, 0, 0, length);
  free(bytes);
  return larger;
}

function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

function tooLarge(limitBytes: number): ResponseTooLargeError {
  return new ResponseTooLargeError(`the answer is longer than ${limitBytes} bytes`);
}
