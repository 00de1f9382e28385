// Run as a process of its own by tests that take something away from the process. Prints its port.

import { startHttpServer } from "../../src/http/transport/server.ts";
import { systemScheduler } from "../../src/runtime/scheduler.ts";
import { echo } from "./http-server.ts";

const server = startHttpServer({
  hostname: "127.0.0.1",
  port: 0,
  handler: echo,
  clock: systemScheduler,
  onError: (error) => console.error(error),
});
console.log(server.port);
