import { RawClient } from "../raw-client.ts";

export interface NeighbourReport {
  readonly requests: number;
  /** Answers other than 200, and 404 where the storm has pushed the entry out. */
  readonly refused: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const PUT = "PUT /api/cache/neighbour HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
const GET = "GET /api/cache/neighbour HTTP/1.1\r\nHost: localhost\r\n\r\n";
const VALUE = "n".repeat(100);

/** Clients with small values beside a storm, so many requests each: reads and writes in turns, each timed. */
export async function neighbour(port: number, requests: number, clients: number): Promise<NeighbourReport> {
  const latenciesMs: number[] = [];
  let refused = 0;
  const work = async (): Promise<void> => {
    const client = await RawClient.open(port);
    try {
      for (let number = 0; number < requests; number++) {
        const startMs = performance.now();
        await client.send(number % 2 === 0 ? PUT + VALUE : GET);
        const { status } = await client.answer();
        latenciesMs.push(performance.now() - startMs);
        if (status !== 200 && status !== 404) refused++;
        await Bun.sleep(2);
      }
    } finally {
      client.socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: clients }, work));
  latenciesMs.sort((a, b) => a - b);
  const quantile = (share: number) => latenciesMs[Math.floor(share * (latenciesMs.length - 1))] ?? Number.NaN;
  return { requests: latenciesMs.length, refused, p50Ms: quantile(0.5), p99Ms: quantile(0.99) };
}
