/**
 * Adds to package-lock.json the platform packages that the registry did not offer when the lock file was made.
 *
 * A registry mirror that carries only some platforms leaves the optional dependencies of the others out of the lock
 * file, and then `npm ci` refuses it on every machine ("Missing: … from lock file"). An entry with its version, system
 * and processor is enough: npm skips it where the system differs and fetches it by name where it fits.
 *
 *   npm install --package-lock-only && node scripts/complete-lock.mjs
 */
import { readFileSync, writeFileSync } from "node:fs";

const systems = ["android", "darwin", "freebsd", "linux", "win32"];
const processors = ["arm64", "arm", "ia32", "ppc64", "s390x", "x64"];
const lockFile = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(lockFile, "utf8"));

let added = 0;
for (const owner of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(owner.optionalDependencies ?? {})) {
    const place = `node_modules/${name}`;
    if (lock.packages[place] !== undefined) continue;
    lock.packages[place] = platformEntry(name, version, owner.dev === true);
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(lockFile, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} platform packages added to package-lock.json`);

function platformEntry(name, version, dev) {
  const words = name.split("-");
  const os = systems.find((system) => words.includes(system));
  const cpu = processors.find((processor) => words.includes(processor));
  if (os === undefined || cpu === undefined) throw new Error(`${name}: the name does not say which platform it is for`);
  const libc = words.includes("musl") ? ["musl"] : words.includes("gnu") ? ["glibc"] : undefined;
  return { version, cpu: [cpu], ...(dev && { dev }), ...(libc && { libc }), optional: true, os: [os] };
}
