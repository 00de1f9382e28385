import { expect, test } from "bun:test";
import { join } from "node:path";
import { DataDirectory } from "../../src/outbox/data-directory.ts";
import { DataDirectoryInUseError } from "../../src/outbox/outbox-errors.ts";
import { tempFolder } from "../support/temp-folder.ts";

const HOLDER = `
  import { DataDirectory } from ${JSON.stringify(join(import.meta.dir, "../../src/outbox/data-directory.ts"))};
  const directory = DataDirectory.open(process.argv[2]);
  console.log("locked");
  // What nobody refers to any more is collected, and the lock with it.
  setInterval(() => directory.path, 1000);
`;

async function startHolder(folder: string) {
  const script = join(folder, "holder.ts");
  await Bun.write(script, HOLDER);
  const child = Bun.spawn([process.execPath, script, join(folder, "data")], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  expect(Buffer.from(value ?? []).toString()).toBe("locked\n");
  return child;
}

test("a second node on the same directory stops with one line that names the first", async () => {
  using folder = tempFolder();
  const holder = await startHolder(folder.path);
  const open = () => DataDirectory.open(join(folder.path, "data"));
  expect(open).toThrow(DataDirectoryInUseError);
  expect(open).toThrow(`in use by another node (pid ${holder.pid})`);
  holder.kill("SIGKILL");
  await holder.exited;
});

test("a directory whose node was killed can be used at once", async () => {
  using folder = tempFolder();
  const holder = await startHolder(folder.path);
  holder.kill("SIGKILL");
  await holder.exited;
  using directory = DataDirectory.open(join(folder.path, "data"));
  expect(directory.file("x")).toBe(join(folder.path, "data", "x"));
});

test("two nodes of one process can't share a directory, one after the other can", () => {
  using folder = tempFolder();
  {
    using _first = DataDirectory.open(folder.path);
    expect(() => DataDirectory.open(folder.path)).toThrow(DataDirectoryInUseError);
  }
  using second = DataDirectory.open(folder.path);
  expect(second.path).toBe(folder.path);
});

test("a directory that can't be made says which", () => {
  expect(() => DataDirectory.open("/dev/null/x")).toThrow("SERV_CACHE_DATA_DIR /dev/null/x can't be made");
});
