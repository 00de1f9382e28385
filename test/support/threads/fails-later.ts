/** A thread that starts well; the second one throws when it is told to drain, in the way that its data says. */

import { parentPort, workerData } from "node:worker_threads";

parentPort?.on("message", () => {
  if (workerData.hostname === "request") {
    if (workerData.thread === 2) parentPort?.postMessage({ kind: "request-failed", traceId: "4711", reason: "a bug" });
    parentPort?.postMessage({ kind: "drained" });
    return;
  }
  if (workerData.thread !== 2) return;
  switch (workerData.hostname) {
    case "throws":
      throw new Error("broken\nin two lines");
    case "rejects":
      Promise.reject(new Error("rejected"));
      return;
    case "exits":
      process.exit(7);
  }
});
parentPort?.postMessage({ kind: "listening", port: 4321 });
