import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Bench, LOAD_CORE, pinned, type ServerProcess } from "./process.ts";
import { toolPath } from "./tools.ts";

/** One kind of request: `%06d` in path, item stands for a random key number. */
export interface RequestShape {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** The body is `prefix`, then `items` times `item` with `separator` between them, then `suffix`. */
  readonly body?: {
    readonly prefix: string;
    readonly item: string;
    readonly items: number;
    readonly separator: string;
    readonly suffix: string;
  };
  /** How many different requests are prepared before the load begins. */
  readonly variants: number;
}

export interface Load {
  readonly name: string;
  /** Of 100 requests, so many have this shape. */
  readonly mix: readonly { readonly percent: number; readonly shape: RequestShape }[];
  readonly connections: number;
  readonly keys: number;
  /** Every answer is 2xx or 3xx, or none is: anything else fails the benchmark. */
  readonly expect: "success" | "not-found";
}

export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** CPU seconds of all the server's processes during the load. */
  readonly cpuSeconds: number;
}

/** Runs wrk on its own core for some seconds. Throws on socket errors and on answers that aren't expected. */
export async function runWrk(
  bench: Bench,
  processes: readonly ServerProcess[],
  port: number,
  load: Load,
  seconds: number,
): Promise<LoadResult> {
  const script = join(bench.folder, `${load.name.replaceAll(/\W+/g, "-")}-${port}.lua`);
  writeFileSync(script, luaScript(load));
  const cpuSeconds = () => processes.reduce((total, server) => total + server.cpuSeconds(), 0);
  const before = cpuSeconds();
  const command = [toolPath("wrk"), "-t1", `-c${load.connections}`, `-d${seconds}s`, "-s", script];
  const run = Bun.spawn(pinned([...command, `http://127.0.0.1:${port}`], LOAD_CORE), { stderr: "pipe" });
  const output = await new Response(run.stdout).text();
  await run.exited;
  const used = cpuSeconds() - before;
  const requests = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0);
  const failed = Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0);
  const expectedFailures = load.expect === "success" ? 0 : requests;
  if (requests === 0 || failed !== expectedFailures || /Socket errors/.test(output)) {
    const name = processes[0]?.name ?? "the server";
    throw new Error(
      `${name} did not answer "${load.name}" as expected: ${output}${await new Response(run.stderr).text()}`,
    );
  }
  return {
    requests,
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? 0),
    cpuSeconds: used,
  };
}

/** All requests are made before the load begins, so that wrk's core has nothing to do but send. */
function luaScript(load: Load): string {
  const tables = load.mix.map(({ shape }, index) => `local t${index} = {}\n${luaTable(`t${index}`, shape, load.keys)}`);
  const picks = load.mix.map(({ percent }, index) => {
    const below = load.mix.slice(0, index + 1).reduce((total, part) => total + part.percent, 0);
    return percent === 100 ? "" : `  if dice <= ${below} then return t${index}[math.random(#t${index})] end`;
  });
  const dice = load.mix.length === 1 ? "" : `  local dice = math.random(100)\n${picks.join("\n")}\n`;
  return [
    "math.randomseed(20240101)",
    "local headers = { ['Content-Type'] = 'application/json' }",
    "local function key() return math.random(KEYS) - 1 end".replace("KEYS", String(load.keys)),
    ...tables.map((table) => table.split("\n")[0]),
    "function init(args)",
    ...tables.map((table) => table.split("\n").slice(1).join("\n")),
    "end",
    `function request()\n${dice}  return t0[math.random(#t0)]\nend\n`,
  ].join("\n");
}

function luaTable(name: string, shape: RequestShape, keys: number): string {
  const everyKey = shape.variants === keys;
  const lines = [`  for i = 1, ${shape.variants} do`, `    local k = ${everyKey ? "i - 1" : "key()"}`];
  if (shape.body === undefined) {
    lines.push(`    ${name}[i] = wrk.format('${shape.method}', ${formatted(shape.path, "k")})`);
  } else {
    const { prefix, item, items, separator, suffix } = shape.body;
    lines.push("    local items = {}");
    lines.push(`    for j = 1, ${items} do items[j] = ${formatted(item, items === 1 ? "k" : "key()")} end`);
    lines.push(`    local body = [==[${prefix}]==] .. table.concat(items, [==[${separator}]==]) .. [==[${suffix}]==]`);
    lines.push(`    ${name}[i] = wrk.format('${shape.method}', ${formatted(shape.path, "k")}, headers, body)`);
  }
  lines.push("  end");
  return lines.join("\n");
}

function formatted(template: string, key: string): string {
  return template.includes("%06d") ? `string.format([==[${template}]==], ${key})` : `[==[${template}]==]`;
}
