import { afterEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

const root = join(import.meta.dir, "..", "..");
const dashboard: Json = JSON.parse(readFileSync(join(root, "deploy/grafana/servcache.json"), "utf8"));
const alerts: Json = Bun.YAML.parse(readFileSync(join(root, "deploy/prometheus/alerts.yml"), "utf8"));
const guide = readFileSync(join(root, "docs/guide/observability.md"), "utf8");

type Json = ReturnType<typeof JSON.parse>;

const METRIC = /\b(?:servcache|http_server|process)_[a-z_]+/g;

/** Metrics by name, as Prometheus text has them, with the names of their labels. */
async function exposed(): Promise<Map<string, Set<string>>> {
  using folder = tempFolder();
  const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=1"], {
    SERV_CACHE_BACKEND_DB: `sqlite:${folder.path}/values.db`,
    SERV_CACHE_PEERS: "http://127.0.0.1:1",
    SERV_CACHE_BOOTSTRAP: "none",
    SERV_CACHE_DATA_DIR: `${folder.path}/data`,
  });
  const url = `http://127.0.0.1:${node.port}`;
  await fetch(`${url}/api/cache/a:1`, { method: "PUT", body: "x" });
  await fetch(`${url}/api/cache/a:1`);
  let text = "";
  await until("every kind of metric is there", async () => {
    text = await (await fetch(`${url}/metrics`)).text();
    return text.includes("servcache_event_loop_delay_seconds_count");
  });
  const names = new Map<string, Set<string>>();
  for (const line of text.split("\n")) {
    const [, name, labels = ""] = /^([a-z_]+)(?:\{(.*)\})? /.exec(line) ?? [];
    if (name === undefined) continue;
    const known = names.get(name) ?? new Set();
    for (const [, label = ""] of labels.matchAll(/([a-z_]+)="/g)) known.add(label);
    names.set(name, known);
  }
  return names;
}

function expressions(): string[] {
  const panels: Json[] = dashboard.panels;
  const shown = panels.flatMap(({ targets = [] }) => targets.map(({ expr }: Json) => String(expr)));
  const rules: Json[] = alerts.groups.flatMap(({ rules }: Json) => rules);
  return [...shown, ...rules.map(({ expr }) => String(expr))];
}

/** Labels that Prometheus adds by itself. */
const OWN_LABELS = ["instance", "le", "job"];

describe("the dashboard and the alerts", () => {
  test("use metrics and labels that a node has, and the guide names all of its metrics", async () => {
    const names = await exposed();
    const used = expressions().flatMap((expression) => [...expression.matchAll(/([a-z][a-z_]+)(?:\{([^}]*)\})?/g)]);
    let checked = 0;
    for (const [, name = "", selector = ""] of used) {
      if (!new RegExp(`^${METRIC.source}$`).test(name)) continue;
      checked += 1;
      expect([name, [...names.keys()].includes(name)]).toEqual([name, true]);
      for (const [, label = ""] of selector.matchAll(/([a-z_]+)(?:=~|!=|=)"/g)) {
        if (OWN_LABELS.includes(label)) continue;
        expect([name, label, names.get(name)?.has(label)]).toEqual([name, label, true]);
      }
    }
    expect(checked).toBeGreaterThan(50);
    const families = new Set([...names.keys()].map((name) => name.replace(/_(bucket|sum|count)$/, "")));
    expect([...families].filter((name) => !guide.includes(`\`${name}\``))).toEqual([]);
    const named = new Set((guide.match(METRIC) ?? []).map((name) => name.replace(/_(bucket|sum|count)$/, "")));
    expect([...named].filter((name) => !families.has(name))).toEqual([]);
  });

  test("are whole: panels have ids of their own and lie within the grid, alerts say what to do", () => {
    const panels: Json[] = dashboard.panels;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    const rules: Json[] = alerts.groups.flatMap(({ rules }: Json) => rules);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const { alert, annotations, labels } of rules) {
      expect([alert, annotations.summary, annotations.description]).toEqual([
        expect.stringMatching(/^ServCache/),
        expect.any(String),
        expect.any(String),
      ]);
      expect(["info", "warning", "critical"]).toContain(labels.severity);
    }
  });
});
