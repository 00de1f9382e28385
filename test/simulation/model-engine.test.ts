/** The simulator's engine keeps the contract of the real ones: a seed that is bad is then not bad for its sake. */
import { testEngine } from "../contract/engine-contract.ts";
import { ModelEngine, ModelMemory } from "./model-engine.ts";

for (const kind of ["memory", "redis"] as const) {
  testEngine({
    name: `the simulator's ${kind} engine`,
    async create() {
      let nowMs = 1_700_000_000_000;
      const engine = new ModelEngine(new ModelMemory(), {
        kind,
        nowMs: () => nowMs,
        // So many that no two keys of the contract share what is remembered of what went.
        buckets: 2 ** 30,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        trace: () => {},
        onConditional: () => {},
      });
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
}
