import { Command } from "ioredis";
import { CommandTimeoutError, messageOf, NotConnectedError } from "./errors.ts";

/** A command that knows whether it was sent: one that was not is not done, whatever became of its connection. */
export class SentCommand extends Command {
  #isSent = false;

  constructor(name: string, args: (string | Buffer)[]) {
    super(name, args);
    const { reject } = this;
    // One that is given up while it waits for a connection goes out all the same when there is one.
    this.reject = (error) =>
      reject(this.#isSent || error instanceof CommandTimeoutError ? error : new NotConnectedError(messageOf(error)));
  }

  override toWritable(socket: object): string | Buffer {
    this.#isSent = true;
    return super.toWritable(socket);
  }
}
