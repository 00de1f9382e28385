/**
 * Loaded before a node's main module: on SIGUSR2, breaks what `BREAKS` names. Stands for a bug: there is no way from the
 * outside to make a thread throw.
 */
import { Worker } from "node:worker_threads";
import { IndexTable } from "../../../src/engine/memory/index-table.ts";

const workers = new Set<Worker>();
const { on } = Worker.prototype;
Worker.prototype.on = function (this: Worker, ...args: Parameters<typeof on>) {
  workers.add(this);
  return on.apply(this, args);
};

process.on("SIGUSR2", () => {
  const last = [...workers].at(-1);
  switch (process.env.BREAKS) {
    case "a thread throws":
      // What no thread expects.
      last?.postMessage(null);
      break;
    case "a thread ends":
      last?.terminate();
      break;
    case "the main thread throws":
      throw new Error("broken\nin two lines");
    case "a change of the memory fails":
      IndexTable.prototype.insert = () => {
        throw new Error("broken");
      };
      break;
    case "the main thread rejects":
      Promise.reject(new Error("broken"));
      break;
  }
});
