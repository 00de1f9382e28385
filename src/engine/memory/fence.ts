/**
 * Order between plain loads and stores of shared memory, for readers and writers that run at the same time.
 *
 * JavaScript has no fences, and its memory model orders nothing by an atomic operation on a word that no other thread
 * uses. Fences are therefore a matter of the runtime and the processor. JavaScriptCore's compilers take each atomic
 * operation for one that may write any shared memory, so no access passes it, and no load before it stands in for one
 * after it. Nor do the processors let one pass:
 * - On x86-64, every read-modify-write is an instruction with a lock prefix, which is a full barrier, whichever word
 *   it is done on. (Intel SDM, volume 3A, 8.2.3.9.)
 * - On ARM64 with atomic instructions (ARMv8.1), it has acquire and release semantics in one instruction, which is a full
 *   barrier, too. (Arm's memory model, `aarch64hwreqs.cat`, barrier-ordered-before: `[A]; amo; [L]; po`.)
 * - On ARM64 without, it is a loop of LDAXR and STLXR: what comes before is over before the STLXR, what comes after
 *   begins after the LDAXR, and between them the two can still be swapped. Two such loops, one after the other, are a
 *   full barrier, since no LDAXR passes an STLXR before it (the same model: `[L]; po; [A]`).
 */
const ONE_IS_A_FENCE = process.arch !== "arm64";

/** A word that no other thread uses: fences don't make threads wait for each other's cache lines. */
export function fenceWord(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(64));
}

/** Lets no load or store pass, in either direction. */
export function fence(word: Int32Array): void {
  Atomics.add(word, 0, 0);
  if (!ONE_IS_A_FENCE) Atomics.add(word, 0, 0);
}

/** Adds 1 to a shared word. All stores before are visible before it is, and it is before any store that comes after. */
export function bump(words: Int32Array, at: number): void {
  Atomics.add(words, at, 1);
  if (!ONE_IS_A_FENCE) Atomics.add(words, at, 0);
}
