/** PostgreSQL in a temporary folder on a free port, as the user `postgres` where the tests run as root. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { SQL } from "bun";
import { freePort } from "./free-port.ts";
import { ServerProcess } from "./server-process.ts";
import { tempFolder } from "./temp-folder.ts";

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly process: ServerProcess;
  /** The folder of the server's own files, such as its certificate. */
  readonly folder: string;
}

const DEBIAN_ROOT = "/usr/lib/postgresql";

export async function startPostgres(settings: readonly string[] = []): Promise<TestServer> {
  const folder = tempFolder();
  const data = join(folder.path, "data");
  const port = freePort();
  const url = `postgres://servcache@127.0.0.1:${port}/postgres`;
  if (process.getuid?.() === 0) run(["chown", "postgres:postgres", folder.path]);
  run([...asPostgres(), binary("initdb"), "-D", data, "-U", "servcache", "--auth=trust", "-E", "UTF8", "--no-sync"]);
  const options = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${data}`, ...settings];
  const server = new ServerProcess({
    command: [...asPostgres(), binary("postgres"), "-D", data, ...options.flatMap((option) => ["-c", option])],
    isReady: () => answers(url),
    log: join(folder.path, "log"),
    stopSignal: "SIGQUIT",
  });
  await server.start();
  return {
    url,
    port,
    process: server,
    folder: folder.path,
    async [Symbol.asyncDispose]() {
      await server.stop();
      folder[Symbol.dispose]();
    },
  };
}

function binary(name: string): string {
  const versions = readdirSync(DEBIAN_ROOT).sort((a, b) => Number(b) - Number(a));
  return join(DEBIAN_ROOT, versions[0] ?? "", "bin", name);
}

/** The server refuses to run as root; `setpriv` becomes the server, so that its pid is the child's. */
function asPostgres(): string[] {
  return process.getuid?.() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] : [];
}

async function answers(url: string): Promise<boolean> {
  const sql = new SQL({ url, adapter: "postgres", max: 1, connectionTimeout: 1 });
  try {
    await sql`SELECT 1`;
    return true;
  } catch {
    return false;
  } finally {
    await sql.close({ timeout: 0 });
  }
}

export function run(command: readonly string[]): void {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd: "/" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stdout}${stderr}`);
}
