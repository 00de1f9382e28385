/**
 * Memory fences for plain loads and stores of shared memory, between concurrent readers and writers.
 *
 * JavaScript has no fences, and its memory model does not order accesses by an atomic operation on a word that no other
 * thread uses. So fences depend on the runtime and the processor. JavaScriptCore's compilers treat each atomic
 * operation as one that may write any shared memory: no access is moved across it, and no load before it is reused
 * after it. Processors do not reorder across it either:
 * - On x86-64, every read-modify-write is an instruction with a lock prefix, which is a full barrier, whichever word it
 *   uses. (Intel SDM, volume 3A, 8.2.3.9.)
 * - On ARM64 with atomic instructions (ARMv8.1), it has acquire and release semantics in one instruction, which is a
 *   full barrier, too. (Arm's memory model, `aarch64hwreqs.cat`, barrier-ordered-before: `[A]; amo; [L]; po`.)
 * - On ARM64 without them, it is a loop of LDAXR and STLXR: accesses before it complete before the STLXR, accesses
 *   after it begin after the LDAXR, and between the two they can still be swapped. Two such loops, one after the other,
 *   are a full barrier, because no LDAXR passes an STLXR before it (the same model: `[L]; po; [A]`).
 */
const ONE_IS_A_FENCE = process.arch !== "arm64";

/** A word that no other thread uses, so that fences do not contend for a cache line. */
export function fenceWord(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(64));
}

/** Full barrier: no load or store is reordered across it in either direction. */
export function fence(word: Int32Array): void {
  Atomics.add(word, 0, 0);
  if (!ONE_IS_A_FENCE) Atomics.add(word, 0, 0);
}

/**
 * Adds 1 to a shared word. All earlier stores are visible before the new value, and the new value before all later
 * stores.
 */
export function bump(words: Int32Array, at: number): void {
  Atomics.add(words, at, 1);
  if (!ONE_IS_A_FENCE) Atomics.add(words, at, 0);
}
