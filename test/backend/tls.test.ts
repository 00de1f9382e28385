import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createBackend } from "../../src/backend/create-backend.ts";
import { jsonRow } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { run, startPostgres, type TestServer } from "../support/postgres.ts";
import { tempFolder } from "../support/temp-folder.ts";

const IN_TIME = { timeoutMs: 10_000 };
const folder = tempFolder();
let server: TestServer;

/** A key and a certificate for 127.0.0.1 that signs itself. */
function makeCertificate(name: string): { readonly key: string; readonly certificate: string } {
  const key = join(folder.path, `${name}.key`);
  const certificate = join(folder.path, `${name}.pem`);
  run([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
  ]);
  return { key, certificate };
}

beforeAll(async () => {
  const { key, certificate } = makeCertificate("server");
  run(["chmod", "0755", folder.path]);
  run(["chmod", "0640", key]);
  if (process.getuid?.() === 0) run(["chown", "root:postgres", key]);
  server = await startPostgres(["ssl=on", `ssl_cert_file=${certificate}`, `ssl_key_file=${key}`]);
}, 60_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

async function writeWith(url: string, tlsCa: string | null): Promise<string | undefined> {
  const backend = createBackend(backendSettings(url, { tlsCa }));
  const [result] = await backend.write([jsonRow("a", "1", 1)], IN_TIME);
  await backend.close();
  return result?.kind;
}

test("a server whose authority is given is trusted", async () => {
  expect(await writeWith(server.url, readFileSync(join(folder.path, "server.pem"), "utf8"))).toBe("written");
});

test("a server that another authority signed is not", async () => {
  const { certificate } = makeCertificate("other");
  expect(await writeWith(server.url, readFileSync(certificate, "utf8"))).toBe("retry");
});

test("verify-full without an authority that knows the server fails, require encrypts all the same", async () => {
  expect(await writeWith(`${server.url}?sslmode=verify-full`, null)).toBe("retry");
  expect(await writeWith(`${server.url}?sslmode=require`, null)).toBe("written");
});
