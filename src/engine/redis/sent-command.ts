import { Command } from "ioredis";
import { CommandTimeoutError, NotConnectedError, problemOf } from "./errors.ts";

/**
 * A command that records whether it was sent: an unsent command was not executed, whatever happened to its connection.
 */
export class SentCommand extends Command {
  #isSent = false;

  constructor(name: string, args: (string | Buffer)[]) {
    super(name, args);
    const { reject } = this;
    // A command that is given up while it waits for a connection is still sent once there is one.
    this.reject = (error) =>
      reject(this.#isSent || error instanceof CommandTimeoutError ? error : new NotConnectedError(problemOf(error)));
  }

  override toWritable(socket: object): string | Buffer {
    this.#isSent = true;
    return super.toWritable(socket);
  }
}
