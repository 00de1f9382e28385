import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SQL } from "bun";
import { createBackend } from "../../src/backend/create-backend.ts";
import { jsonRow } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startMariaDb } from "../support/mariadb.ts";
import { needing } from "../support/needing.ts";
import { run, startPostgres, type TestServer } from "../support/postgres.ts";
import { tempFolder } from "../support/temp-folder.ts";

const { afterAll, beforeAll, describe, test } = needing("openssl", "postgres", "mariadbd");

const IN_TIME = { timeoutMs: 60_000 };
const folder = tempFolder();
const servers = new Map<string, TestServer>();

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
  const isRoot = process.getuid?.() === 0;
  if (isRoot) run(["chown", "root:postgres", key]);
  servers.set("PostgreSQL", await startPostgres(["ssl=on", `ssl_cert_file=${certificate}`, `ssl_key_file=${key}`]));
  const ownKey = `${key}.mariadb`;
  run(["cp", key, ownKey]);
  if (isRoot) run(["chown", "mysql", ownKey]);
  servers.set("MariaDB", await startMariaDb([`--ssl-cert=${certificate}`, `--ssl-key=${ownKey}`]));
  await refusePlainConnections();
}, 300_000);
afterAll(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** What gets through to the servers after this is encrypted. */
async function refusePlainConnections(): Promise<void> {
  const postgres = new SQL({ url: urlOf("PostgreSQL"), adapter: "postgres", max: 1 });
  const [{ hba_file: rules }] = await postgres.unsafe("SHOW hba_file");
  writeFileSync(rules, "hostssl all all 127.0.0.1/32 trust\n");
  await postgres.unsafe("SELECT pg_reload_conf()");
  await postgres.close({ timeout: 0 });
  const mariaDb = new SQL({ url: urlOf("MariaDB"), adapter: "mysql", max: 1 });
  await mariaDb.unsafe("SET GLOBAL require_secure_transport = ON");
  await mariaDb.close({ timeout: 0 });
}

function urlOf(name: string): string {
  return servers.get(name)?.url ?? "";
}

async function writeWith(url: string, tlsCa: string | null): Promise<string | undefined> {
  const backend = createBackend(backendSettings(url, { tlsCa }));
  const [result] = await backend.write([jsonRow("a", "1", 1)], IN_TIME);
  await backend.close();
  return result?.kind;
}

describe.each(["PostgreSQL", "MariaDB"])("%s that wants encryption", (name) => {
  test("refuses a connection without", async () => {
    expect(await writeWith(`${urlOf(name)}?sslmode=disable`, null)).toBe("retry");
  });

  test("is trusted where its authority is given", async () => {
    expect(await writeWith(urlOf(name), readFileSync(join(folder.path, "server.pem"), "utf8"))).toBe("written");
  });

  test("is not where another authority signed it", async () => {
    const { certificate } = makeCertificate("other");
    expect(await writeWith(urlOf(name), readFileSync(certificate, "utf8"))).toBe("retry");
  });

  test("is not with verify-full and no authority that knows it; require encrypts all the same", async () => {
    expect(await writeWith(`${urlOf(name)}?sslmode=verify-full`, null)).toBe("retry");
    expect(await writeWith(`${urlOf(name)}?sslmode=require`, null)).toBe("written");
  });
});
