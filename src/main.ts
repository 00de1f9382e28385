/** `servcache <command>`: starts one node from arguments and environment. */

import manifest from "../package.json" with { type: "json" };
import { StopRequests } from "./node/stop-requests.ts";

const EXIT_USAGE = 2;

const USAGE = `Usage: servcache <command>

  serve [flags]   starts a node (servcache serve --help lists the flags)
  help            prints this
  --version       prints the version
`;

await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  switch (command) {
    case "serve": {
      // A stop may be asked for before the rest of the program is loaded.
      const stops = new StopRequests(process);
      const { serve } = await import("./node/serve.ts");
      return serve(rest, stops);
    }
    case "help":
    case "--help":
    case "-h":
      process.stdout.write(USAGE);
      return;
    case "version":
    case "--version":
      process.stdout.write(`servcache ${manifest.version}\n`);
      return;
    default:
      process.stderr.write(USAGE);
      process.exit(EXIT_USAGE);
  }
}
