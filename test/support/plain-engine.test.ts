import { testEngine } from "../contract/engine-contract.ts";
import { PlainEngine } from "./plain-engine.ts";

testEngine({
  name: "PlainEngine",
  async create() {
    let nowMs = 1_700_000_000_000;
    const engine = new PlainEngine(() => nowMs);
    return {
      engine,
      versioned: true,
      expiryToleranceMs: 0,
      nowMs: () => nowMs,
      advanceMs: (ms: number) => {
        nowMs += ms;
      },
      close: () => engine.close(),
    };
  },
});
