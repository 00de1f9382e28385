import { afterAll, beforeAll, beforeEach, describe } from "bun:test";
import { testConditions } from "./conditions-contract.ts";
import { ContractCalls, type EngineUnderTest } from "./contract-calls.ts";
import { testKeyspace } from "./keyspace-contract.ts";
import { testLifetimes } from "./lifetimes-contract.ts";
import { testState } from "./state-contract.ts";
import { testValues } from "./values-contract.ts";

export type { EngineFixture, EngineUnderTest } from "./contract-calls.ts";

/**
 * Checks that an engine keeps the contract `src/engine/engine.ts`. What may differ between engines: whether versions
 * are kept (`versioned`), whether the revision is the version, and how precisely an entry ends.
 */
export function testEngine({ name, create }: EngineUnderTest): void {
  describe(`${name} keeps the engine contract`, () => {
    const calls = new ContractCalls();

    beforeAll(async () => calls.use(await create()));
    beforeEach(async () => {
      await calls.engine.clear(calls.stamp());
    });
    afterAll(() => calls.fixture.close());

    testValues(calls);
    testLifetimes(calls);
    testConditions(calls);
    testKeyspace(calls);
    testState(calls);
  });
}
