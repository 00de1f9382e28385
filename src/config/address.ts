import { isIPv4, isIPv6 } from "node:net";

/** The address that a node listens on. */
export interface Address {
  /** Name or IP address, without brackets; empty = all interfaces. */
  readonly hostname: string;
  /** 0 = any free port. */
  readonly port: number;
}

const MAX_PORT = 65_535;
const PORT = /^\d{1,5}$/;
const HOST_NAME = /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/i;

/**
 * Parses `:8088`, `127.0.0.1:8088`, `localhost:8088`, `[::1]:8088` or a port alone; null if the text is none of them.
 */
export function parseAddress(text: string): Address | null {
  const colon = text.lastIndexOf(":");
  const port = text.slice(colon + 1);
  if (!PORT.test(port) || Number(port) > MAX_PORT) return null;
  const hostname = parseHost(text.slice(0, Math.max(colon, 0)));
  return hostname === null ? null : { hostname, port: Number(port) };
}

/** The address as the authority of a URL: `127.0.0.1:8088`, `[::1]:8088`; all interfaces = `0.0.0.0:8088`. */
export function formatAddress(address: Address): string {
  const { hostname, port } = address;
  if (hostname === "") return `0.0.0.0:${port}`;
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** Whether only programs on this machine can reach the address. */
export function isLoopback({ hostname }: Address): boolean {
  return (
    hostname.toLowerCase() === "localhost" || hostname === "::1" || (isIPv4(hostname) && hostname.startsWith("127."))
  );
}

function parseHost(text: string): string | null {
  if (text === "") return "";
  if (text.startsWith("[") && text.endsWith("]")) {
    const hostname = text.slice(1, -1);
    return isIPv6(hostname) ? hostname : null;
  }
  return HOST_NAME.test(text) ? text : null;
}
