import { describe, expect, test } from "bun:test";
import { BUCKETS, bucketOf } from "../../src/telemetry/latency-buckets.ts";
import { type MetricFamily, merged } from "../../src/telemetry/metric-family.ts";
import { renderText, textFormFor } from "../../src/telemetry/prometheus.ts";

const counts = new Array<number>(BUCKETS).fill(0);
counts[bucketOf(1)] = 2;
counts[BUCKETS - 1] = 1;
const exemplar = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  seconds: 0.001,
  unixMs: 5_000,
};

const FAMILIES: readonly MetricFamily[] = [
  { kind: "counter", name: "a.b", unit: "{x}", help: "Counts.", points: [{ attributes: {}, value: 3 }] },
  {
    kind: "gauge",
    name: "size",
    unit: "By",
    help: "Sizes.",
    points: [{ attributes: { "of.what": 'a "\\\n' }, value: 1.5 }],
  },
  { kind: "gauge", name: "nothing", unit: "1", help: "None.", points: [] },
  {
    kind: "histogram",
    name: "took",
    unit: "s",
    help: "Times.",
    points: [{ attributes: { operation: "get" }, histogram: { counts, count: 3, sumSeconds: 100.002, exemplar } }],
  },
];

/** One in each bucket. */
const SPREAD: readonly MetricFamily[] = [
  {
    kind: "histogram",
    name: "took",
    unit: "s",
    help: "Times.",
    points: [
      {
        attributes: {},
        histogram: { counts: counts.map(() => 1), count: BUCKETS, sumSeconds: 1, exemplar },
      },
    ],
  },
];

function bucketLines(text: string) {
  return [...text.matchAll(/^took_seconds_bucket\{le="([^"]+)"\} (\d+)( #)?/gm)].map(([, le = "", count, example]) => ({
    le,
    count: Number(count),
    isExample: example !== undefined,
  }));
}

describe("metrics as text", () => {
  test("are in the form of Prometheus", () => {
    const lines = renderText(FAMILIES, "prometheus", "full").split("\n");
    expect(lines.slice(0, 6)).toEqual([
      "# HELP a_b_total Counts.",
      "# TYPE a_b_total counter",
      "a_b_total 3",
      "# HELP size_bytes Sizes.",
      "# TYPE size_bytes gauge",
      'size_bytes{of_what="a \\"\\\\\\n"} 1.5',
    ]);
    expect(lines.slice(6, 9)).toEqual([
      "# HELP took_seconds Times.",
      "# TYPE took_seconds histogram",
      'took_seconds_bucket{operation="get",le="0.0000038147"} 0',
    ]);
    expect(lines.slice(-5)).toEqual([
      'took_seconds_bucket{operation="get",le="64"} 2',
      'took_seconds_bucket{operation="get",le="+Inf"} 3',
      'took_seconds_sum{operation="get"} 100.002',
      'took_seconds_count{operation="get"} 3',
      "",
    ]);
    expect(lines.some((line) => line.includes("trace_id"))).toBe(false);
  });

  test("are in the form of OpenMetrics, with one exemplar in the bucket that holds it", () => {
    const text = renderText(FAMILIES, "openmetrics", "full");
    expect(text.startsWith("# HELP a_b Counts.\n# TYPE a_b counter\na_b_total 3\n")).toBe(true);
    expect(text.endsWith("\n# EOF\n")).toBe(true);
    const found = text.split("\n").filter((line) => line.includes("trace_id"));
    expect(found).toEqual([
      'took_seconds_bucket{operation="get",le="0.0010198"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331"} 0.001 5',
    ]);
  });

  test("have every power of two alone where few buckets are wanted, and the same counts below them", () => {
    const [full, few] = (["full", "few"] as const).map((buckets) =>
      bucketLines(renderText(SPREAD, "openmetrics", buckets)),
    );
    if (full === undefined || few === undefined) throw new Error("both are rendered");
    const bounds = few.map(({ le }) => le);
    expect(bounds.slice(0, -1).map((le) => Math.log2(Number(le)).toFixed(4))).toEqual(
      Array.from({ length: 25 }, (_, at) => (at - 18).toFixed(4)),
    );
    expect(bounds.at(-1)).toBe("+Inf");
    expect(few.map(({ le, count }) => [le, count])).toEqual(
      full.filter(({ le }) => bounds.includes(le)).map(({ le, count }) => [le, count]),
    );
    expect(few.at(-1)?.count).toBe(BUCKETS);
    // 1 ms is in the bucket that ends at 2^-9 s.
    expect(few.filter(({ isExample }) => isExample).map(({ le }) => le)).toEqual(["0.00195313"]);
  });

  test("of several sources under one name stand together", () => {
    const [first] = FAMILIES;
    if (first?.kind !== "counter") throw new Error("the first one is a counter");
    const more = { ...first, points: [{ attributes: { from: "here" }, value: 4 }] };
    expect(renderText(merged([...FAMILIES, more]), "prometheus", "full")).toContain(
      '# TYPE a_b_total counter\na_b_total 3\na_b_total{from="here"} 4\n',
    );
  });

  test.each([
    [null, "prometheus"],
    ["*/*", "prometheus"],
    ["text/plain;version=0.0.4", "prometheus"],
    ["application/openmetrics-text;version=1.0.0", "openmetrics"],
    ["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1", "openmetrics"],
    ["application/openmetrics-text;q=0.3,text/plain;q=0.4", "prometheus"],
    ["application/openmetrics-text;q=0", "prometheus"],
  ] as const)("for Accept: %s are %s", (accept, form) => {
    expect(textFormFor(accept)).toBe(form);
  });
});
