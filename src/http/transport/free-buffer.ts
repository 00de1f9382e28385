/** Below that, a buffer is left to the garbage collector, which is cheaper. */
const WORTH_FREEING_BYTES = 4 * 1024;

/**
 * Gives the memory of a buffer back at once instead of when garbage is collected, if it has much and no other view can
 * exist of it. The buffer is empty afterwards.
 */
export function freeBuffer(buffer: Buffer): void {
  // First, because asking a buffer for its memory makes an object.
  if (buffer.length < WORTH_FREEING_BYTES) return;
  const { buffer: memory } = buffer;
  if (memory instanceof ArrayBuffer && buffer.length === memory.byteLength) memory.transfer(0);
}
