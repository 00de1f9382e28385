import type { Tracer } from "../../telemetry/trace/tracer.ts";
import type { RedisTarget } from "./redis-url.ts";

/** Creates the client spans of commands, following OpenTelemetry's conventions for databases and Redis. */
export class CommandSpans {
  constructor(
    private readonly tracer: Tracer,
    private readonly target: RedisTarget,
  ) {}

  /** Called when the command is sent; returns the reply. */
  follow(name: string, reply: Promise<unknown>): Promise<unknown> {
    const operation = name.toUpperCase();
    const span = this.tracer.startClient(operation);
    if (span === null) return reply;
    const { addresses, database } = this.target;
    const [address] = addresses;
    span.set("db.system.name", "redis").set("db.operation.name", operation).set("db.namespace", String(database));
    if (address !== undefined) span.set("server.address", address.host).set("server.port", address.port);
    return reply.then(
      (value) => {
        span.end();
        return value;
      },
      (error: unknown) => {
        // The first word of a Redis error is its kind; the rest may contain keys.
        span.fail(error instanceof Error ? (error.message.split(" ", 1)[0] ?? error.name) : "error");
        span.end();
        throw error;
      },
    );
  }
}
