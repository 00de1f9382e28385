/**
 * Makes sure, before the first listener, that the address is free.
 *
 * Listeners that share a port (`SO_REUSEPORT`) would also share it with those of another process of the same user, and
 * the two nodes would take turns without a word. A plain bind is refused in that case.
 */

import { createServer } from "node:net";
import { type Address, formatAddress } from "../config/address.ts";
import { messageOf } from "../runtime/error-message.ts";
import { NodeError } from "./errors.ts";

/** Stands for all interfaces, of IPv6 and IPv4 together. */
const ALL_INTERFACES = "::";
/** Where the machine has no IPv6. */
const ALL_IPV4_INTERFACES = "0.0.0.0";

/** Gives the host name to listen on. Throws `NodeError` where nobody can listen there. */
export async function checkAddress(address: Address): Promise<string> {
  if (address.hostname !== "") {
    await bindOnce(address.hostname, address.port).catch((error) => refuse(address, error));
    return address.hostname;
  }
  try {
    await bindOnce(ALL_INTERFACES, address.port);
    return ALL_INTERFACES;
  } catch (error) {
    if (!["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes(codeOf(error))) refuse(address, error);
    await bindOnce(ALL_IPV4_INTERFACES, address.port).catch((cause) => refuse(address, cause));
    return ALL_IPV4_INTERFACES;
  }
}

function bindOnce(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  });
}

function refuse(address: Address, cause: unknown): never {
  throw new NodeError(`cannot listen on ${formatAddress(address)}: ${reason(cause)}`, { cause });
}

function reason(error: unknown): string {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return "the port is in use; stop what listens there or choose another one with --addr or PORT";
    case "EACCES":
      return "not permitted; ports below 1024 need privileges, choose another one with --addr or PORT";
    case "EADDRNOTAVAIL":
      return "this machine has no such address; choose another one with --addr or PORT";
    case "ENOTFOUND":
      return "no such host name; choose another one with --addr or PORT";
    default:
      return messageOf(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
