/** Real HTTP proxies and caches in front of a node, with their defaults, each on a free port and in a folder of its own. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { quietPort } from "./free-port.ts";
import { ServerProcess } from "./server-process.ts";
import { tempFolder } from "./temp-folder.ts";

export interface FrontServer extends AsyncDisposable {
  readonly port: number;
}

/** `proxy_cache` on, and nothing else said about caching. */
export function startNginx(nodePort: number): Promise<FrontServer> {
  return startNginxWith(`location / { proxy_pass http://127.0.0.1:${nodePort}; proxy_cache all; }`);
}

/** @param location how a server passes requests on */
export function startNginxWith(location: string): Promise<FrontServer> {
  return start("nginx", (folder, port) => {
    const configuration = join(folder, "nginx.conf");
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${folder}/${name};`)
      .join("\n");
    writeFileSync(
      configuration,
      `daemon off;
      ${process.getuid?.() === 0 ? "user root;" : ""}
      pid ${folder}/pid;
      events {}
      http {
        access_log off;
        ${temporary}
        proxy_cache_path ${folder}/cache keys_zone=all:1m;
        server {
          listen 127.0.0.1:${port};
          ${location}
        }
      }`,
    );
    return ["nginx", "-p", folder, "-e", "stderr", "-c", configuration];
  });
}

export function startVarnish(nodePort: number): Promise<FrontServer> {
  return start("varnishd", (folder, port) => [
    ...["varnishd", "-j", "none", "-F", "-n", join(folder, "varnish"), "-s", "malloc,16m"],
    ...["-a", `127.0.0.1:${port}`, "-b", `127.0.0.1:${nodePort}`],
  ]);
}

export function startHaproxy(nodePort: number): Promise<FrontServer> {
  return startHaproxyWith(`backend node\n  server node 127.0.0.1:${nodePort}\n`);
}

/** @param backend `node`, to which all requests go */
export function startHaproxyWith(backend: string): Promise<FrontServer> {
  return start("haproxy", (folder, port) => {
    const configuration = join(folder, "haproxy.cfg");
    writeFileSync(
      configuration,
      `defaults
        mode http
        timeout connect 60s
        timeout client 60s
        timeout server 60s
      frontend clients
        bind 127.0.0.1:${port}
        default_backend node
${backend}
`,
    );
    return ["haproxy", "-db", "-f", configuration];
  });
}

async function start(
  name: string,
  commandOf: (folder: string, port: number) => readonly string[],
): Promise<FrontServer> {
  const folder = tempFolder();
  const port = quietPort();
  const [program = name, ...args] = commandOf(folder.path, port);
  const path = Bun.which(program, { PATH: `${process.env.PATH}:/usr/sbin` }) ?? program;
  const server = new ServerProcess({
    command: [path, ...args],
    isReady: () =>
      fetch(`http://127.0.0.1:${port}/healthz`).then(
        ({ status }) => status === 200 || status === 403,
        () => false,
      ),
    log: join(folder.path, "log"),
    stopSignal: "SIGTERM",
  });
  await server.start();
  return {
    port,
    async [Symbol.asyncDispose]() {
      await server.stop();
      folder[Symbol.dispose]();
    },
  };
}
