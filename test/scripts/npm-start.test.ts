import { describe, expect, test } from "bun:test";
import { join } from "node:path";

const root = join(import.meta.dir, "..", "..");

describe("npm start", () => {
  test.each([["SIGTERM"], ["SIGINT"]] as const)(
    "passes flags on, and %s down to the node, which ends with 0",
    async (signal) => {
      const npm = startNpm("--addr", "127.0.0.1:0", "--entry-memory", "64MiB", "--workers", "1");
      const decoder = new TextDecoder();
      let stdout = "";
      let url: string | undefined;
      for await (const chunk of npm.stdout) {
        stdout += decoder.decode(chunk, { stream: true });
        if (url !== undefined) continue;
        url = /listens on (http:\S+) · engine memory · memory [^·]+ · 1 thread\n/.exec(stdout)?.[1];
        if (url === undefined) continue;
        expect((await fetch(`${url}/healthz`)).status).toBe(200);
        npm.kill(signal);
      }
      expect(await npm.exited).toBe(0);
      await expect(fetch(`${url}/healthz`)).rejects.toThrow();
    },
  );

  test("ends with the node's exit code", async () => {
    const npm = startNpm("--workers=none");
    const stderr = await new Response(npm.stderr).text();
    expect(stderr).toContain('servcache: --workers is "none", expected a whole number from 1 to 64\n');
    expect(await npm.exited).toBe(2);
  });

  function startNpm(...flags: string[]) {
    return Bun.spawn(["npm", "start", "--", ...flags], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  }
});
