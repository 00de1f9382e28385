/**
 * Notices that the folder of a running node was removed or replaced. The open files go on for this process, but what is
 * written to them is gone with it: nothing may be acknowledged on their strength.
 */
import { statSync } from "node:fs";
import type { Scheduler } from "../runtime/scheduler.ts";

const LOOK_EVERY_MS = 1_000;

export class DirectoryWatch implements Disposable {
  readonly #inode: number | null;
  #cancel: () => void = () => {};

  /** `onGone` is called once. */
  constructor(
    /** A file of the folder that is never replaced while the node runs. */
    private readonly file: string,
    private readonly scheduler: Scheduler,
    private readonly onGone: () => void,
  ) {
    this.#inode = inodeOf(file);
    this.#wait();
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #wait(): void {
    this.#cancel = this.scheduler.after(LOOK_EVERY_MS, () => {
      if (inodeOf(this.file) === this.#inode) this.#wait();
      else this.onGone();
    });
  }
}

/** Null = there is no such file. */
function inodeOf(file: string): number | null {
  return statSync(file, { throwIfNoEntry: false })?.ino ?? null;
}
