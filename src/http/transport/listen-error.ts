/** The server can't listen on the given address. */
export class ListenError extends Error {
  override readonly name = "ListenError";

  /** @param code the code of the system: `EADDRINUSE`, `EACCES` … */
  constructor(
    readonly code: string,
    readonly hostname: string,
    readonly port: number,
    cause: unknown,
  ) {
    super(`cannot listen on ${hostname}:${port}: ${adviceFor(code)} (${code})`, { cause });
  }
}

function adviceFor(code: string): string {
  if (code === "EADDRINUSE") return "the port is in use; stop the other process or choose another port";
  if (code === "EACCES") return "not permitted; choose a port above 1023 or grant the right to bind it";
  if (code === "EADDRNOTAVAIL") return "no network interface has this address; choose one of this machine's";
  return "check the address";
}
