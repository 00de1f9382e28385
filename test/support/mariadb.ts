/** MariaDB in a temporary folder on a free port. */
import { join } from "node:path";
import { SQL } from "bun";
import { freePort } from "./free-port.ts";
import { run, type TestServer } from "./postgres.ts";
import { ServerProcess } from "./server-process.ts";
import { tempFolder } from "./temp-folder.ts";

export async function startMariaDb(settings: readonly string[] = []): Promise<TestServer> {
  const folder = tempFolder();
  const data = join(folder.path, "data");
  const socket = join(folder.path, "socket");
  const port = freePort();
  const user = process.getuid?.() === 0 ? ["--user=mysql"] : [];
  if (user.length > 0) run(["chown", "mysql:mysql", folder.path]);
  run([
    ...["mariadb-install-db", "--no-defaults", `--datadir=${data}`, ...user, "--skip-test-db"],
    "--auth-root-authentication-method=normal",
  ]);
  const server = new ServerProcess({
    command: [
      ...["mariadbd", "--no-defaults", ...user, `--datadir=${data}`, `--socket=${socket}`, `--port=${port}`],
      ...["--bind-address=127.0.0.1", `--pid-file=${join(data, "pid")}`, ...settings],
    ],
    isReady: () => makeUser(port),
    log: join(folder.path, "log"),
    stopSignal: "SIGKILL",
  });
  await server.start();
  return {
    url: `mysql://servcache:secret@127.0.0.1:${port}/servcache`,
    port,
    process: server,
    folder: folder.path,
    async [Symbol.asyncDispose]() {
      await server.stop();
      folder[Symbol.dispose]();
    },
  };
}

/** False = the server does not answer yet. */
async function makeUser(port: number): Promise<boolean> {
  const sql = new SQL({ url: `mysql://root@127.0.0.1:${port}/mysql`, adapter: "mysql", max: 1, connectionTimeout: 1 });
  try {
    await sql.unsafe("CREATE DATABASE IF NOT EXISTS servcache");
    await sql.unsafe("CREATE USER IF NOT EXISTS servcache@'%' IDENTIFIED BY 'secret'");
    await sql.unsafe("GRANT ALL ON *.* TO servcache@'%'");
    return true;
  } catch {
    return false;
  } finally {
    await sql.close({ timeout: 0 });
  }
}
