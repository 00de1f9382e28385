import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate authority and one certificate for 127.0.0.1, made by openssl for the time of a test. */
export class Certificates {
  readonly #folder = mkdtempSync(join(tmpdir(), "servcache-tls-"));

  constructor() {
    this.#run("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt");
    this.#run("req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout node.key -out node.csr");
    Bun.spawnSync(["sh", "-c", "echo subjectAltName=IP:127.0.0.1,DNS:localhost > san.ext"], { cwd: this.#folder });
    this.#run("x509 -req -days 2 -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile san.ext -out node.crt");
  }

  path(name: "ca.crt" | "node.crt" | "node.key"): string {
    return join(this.#folder, name);
  }

  text(name: "ca.crt" | "node.crt" | "node.key"): string {
    return readFileSync(this.path(name), "utf8");
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(command: string): void {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...command.split(" ")], {
      cwd: this.#folder,
      stderr: "pipe",
    });
    if (exitCode !== 0) throw new Error(`openssl ${command}: ${stderr.toString()}`);
  }
}
