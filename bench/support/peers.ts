import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { quietPort } from "../../test/support/free-port.ts";
import { type Bench, SERVER_CORE, type ServerProcess } from "./process.ts";
import { toolPath } from "./tools.ts";

/** What nginx answers, whatever it is asked. */
export interface ConstantAnswer {
  readonly path: string;
  readonly status: number;
  readonly bytes: number;
}

/** nginx takes no configuration word above 4,096 bytes: longer bodies repeat a variable. */
const PIECE = "x".repeat(1000);
const VARIABLE = "$" + "{piece}";
const LONGEST_LITERAL = 3000;

function bodyOf(bytes: number): string {
  if (bytes <= LONGEST_LITERAL) return "x".repeat(bytes);
  return VARIABLE.repeat(Math.floor(bytes / PIECE.length)) + "x".repeat(bytes % PIECE.length);
}

/** nginx with one worker: constant bodies from memory, no log, connections kept alive for ever. */
export function startNginx(bench: Bench, answers: readonly ConstantAnswer[]): Promise<ServerProcess> {
  const port = quietPort();
  const folder = join(bench.folder, `nginx-${port}`);
  mkdirSync(folder);
  const locations = answers.map(
    ({ path, status, bytes }) =>
      `    location ${path} { default_type application/json; set $piece ${PIECE}; return ${status} '${bodyOf(bytes)}'; }`,
  );
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `  ${kind}_temp_path ${folder}/${kind};`,
  );
  const config = [
    "daemon off;",
    "worker_processes 1;",
    `pid ${folder}/pid;`,
    `error_log ${folder}/error.log crit;`,
    "events { worker_connections 1024; }",
    "http {",
    ...temporary,
    "  access_log off;",
    "  keepalive_requests 1000000000;",
    "  client_body_buffer_size 64k;",
    "  client_max_body_size 64m;",
    "  server {",
    `    listen 127.0.0.1:${port};`,
    ...locations,
    "  }",
    "}",
  ];
  const path = join(folder, "nginx.conf");
  writeFileSync(path, `${config.join("\n")}\n`);
  const command = [toolPath("nginx"), "-p", folder, "-c", path];
  return bench.start({ name: "nginx", command, core: SERVER_CORE, port });
}

/** Redis without persistence. */
export function startRedis(
  bench: Bench,
  { core = SERVER_CORE, port = quietPort() }: { readonly core?: number; readonly port?: number } = {},
): Promise<ServerProcess> {
  const options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", bench.folder];
  const command = [toolPath("redis-server"), "--port", String(port), "--enable-debug-command", "local", ...options];
  return bench.start({ name: "Redis", command, core, port });
}

/** Webdis in front of a Redis, both on the server's core. */
export function startWebdis(bench: Bench, redis: ServerProcess): Promise<ServerProcess> {
  const port = quietPort();
  const path = join(bench.folder, `webdis-${port}.json`);
  const config = {
    redis_host: "127.0.0.1",
    redis_port: redis.port,
    redis_auth: null,
    http_host: "127.0.0.1",
    http_port: port,
    threads: 1,
    pool_size: 20,
    daemonize: false,
    websockets: false,
    database: 0,
    verbosity: 0,
    logfile: join(bench.folder, "webdis.log"),
  };
  writeFileSync(path, JSON.stringify(config));
  return bench.start({ name: "Webdis", command: [toolPath("webdis"), path], core: SERVER_CORE, port });
}

/** `node:http` over a Map, run by Node. */
export function startNodeMap(bench: Bench): Promise<ServerProcess> {
  const port = quietPort();
  const program = join(import.meta.dirname, "..", "peers", "node-http-map.mjs");
  const command = [toolPath("node"), program, "serve", "--addr", `127.0.0.1:${port}`];
  return bench.start({ name: "node:http + Map", command, core: SERVER_CORE, port });
}

/** Stores `count` entries into a Redis through `redis-cli --pipe`. */
export async function fillRedis(
  redis: ServerProcess,
  count: number,
  keyOf: (index: number) => string,
  value: string,
): Promise<void> {
  const cli = Bun.spawn([toolPath("redis-cli"), "-p", String(redis.port), "--pipe"], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const commandsPerWrite = 5000;
  for (let first = 0; first < count; first += commandsPerWrite) {
    let text = "";
    for (let index = first; index < Math.min(count, first + commandsPerWrite); index++) {
      const key = keyOf(index);
      text += `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`;
    }
    cli.stdin.write(text);
    await cli.stdin.flush();
  }
  await cli.stdin.end();
  const said = await new Response(cli.stdout).text();
  if ((await cli.exited) !== 0 || !/errors: 0, replies: \d+/.test(said)) throw new Error(`redis-cli: ${said}`);
}
