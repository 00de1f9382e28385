/** The import order of the house (CONTRIBUTING.md): arrows run one way, and never in a circle. */

/** Every room, and the rooms that it may import from; `config` and `runtime` import nobody. */
const mayImport = {
  config: [],
  telemetry: ["runtime"],
  runtime: [],
  model: ["runtime"],
  engine: ["model", "runtime", "config", "telemetry"],
  cache: ["model", "engine", "runtime", "config", "telemetry"],
  outbox: ["model", "engine", "runtime", "config", "telemetry"],
  backend: ["model", "cache", "engine", "outbox", "runtime", "config", "telemetry"],
  replication: ["model", "cache", "engine", "outbox", "runtime", "config", "telemetry"],
  http: ["model", "cache", "engine", "runtime", "config", "telemetry"],
  node: ["model", "http", "cache", "engine", "backend", "outbox", "replication", "runtime", "config", "telemetry"],
};

const rooms = Object.entries(mayImport).map(([room, others]) => ({
  name: `${room}-imports-only-what-lies-below`,
  severity: "error",
  comment: `${room}/ may import from: ${others.length === 0 ? "nobody" : others.join(", ")}`,
  from: { path: `^src/${room}/` },
  to: { path: "^src/", pathNot: `^src/(${[room, ...others].join("|")})/` },
}));

module.exports = {
  forbidden: [
    ...rooms,
    {
      name: "transport-knows-nothing-of-rest",
      severity: "error",
      from: { path: "^src/http/transport/" },
      to: { path: "^src/(http/rest|cache|engine|model)/" },
    },
    {
      name: "no-circle",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "every-room-has-its-rule",
      severity: "error",
      comment: "a new folder in src/ needs a line in mayImport",
      from: { path: "^src/(main\\.ts$)?", pathNot: `^src/(main\\.ts$|(${Object.keys(mayImport).join("|")})/)` },
      to: {},
    },
    {
      name: "resolvable",
      severity: "error",
      from: {},
      to: { couldNotResolve: true, pathNot: "^bun(:|$)" },
    },
    {
      name: "src-stands-alone",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(test|bench|scripts|client)/" },
    },
    {
      name: "no-development-packages-in-src",
      severity: "error",
      from: { path: "^src/" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], pathNot: "(^|/)(bun-types|@types/bun)/" },
    },
  ],
  options: {
    // TypeScript 7 has no parser that dependency-cruiser can call, and without one it sees no .ts file at all.
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: { extensions: [".ts", ".mjs", ".js"] },
  },
};
