/** What may happen to the way between two processes. */
import type { ProxyMode, TcpProxy } from "../support/tcp-proxy.ts";
import { between, type Fault, type WorldOptions } from "./world.ts";

const MODES: readonly ProxyMode[] = [
  { kind: "hang" },
  { kind: "refuse" },
  { kind: "delay", ms: 150 },
  { kind: "truncate", bytes: 700 },
];

export function proxyFaults(name: string, proxy: TcpProxy, { random }: WorldOptions): Fault[] {
  const modes = MODES.map(
    (mode): Fault => ({
      name: `${name}: ${mode.kind}`,
      run: async () => {
        proxy.mode = mode;
        if (mode.kind === "refuse") proxy.cut();
        await Bun.sleep(between(random, 300, 3_000));
        proxy.mode = { kind: "pass" };
        // What hung or was torn in the middle of a message would never come to its end.
        if (mode.kind !== "delay") proxy.cut();
      },
    }),
  );
  return [
    ...modes,
    { name: `${name}: cut`, run: async () => proxy.cut() },
    { name: `${name}: half closed`, run: async () => proxy.halfClose() },
  ];
}
