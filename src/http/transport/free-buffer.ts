/** Smaller buffers are left to the garbage collector, which is cheaper. */
const WORTH_FREEING_BYTES = 4 * 1024;

/**
 * Frees the memory of a buffer at once instead of at the next garbage collection, if it is large and no other view of
 * it can exist. The buffer is empty afterwards.
 */
export function freeBuffer(buffer: Buffer): void {
  // First, because accessing a buffer's memory allocates an object.
  if (buffer.length < WORTH_FREEING_BYTES) return;
  const { buffer: memory } = buffer;
  if (memory instanceof ArrayBuffer && buffer.length === memory.byteLength) memory.transfer(0);
}
