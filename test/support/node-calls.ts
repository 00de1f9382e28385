/** Calls of a node over HTTP, as its clients make them. */

export interface NodeAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of an error; else empty. */
  readonly code: string;
  readonly ms: number;
}

export interface NodeCalls {
  call(method: string, path: string, init?: { body?: string; headers?: Record<string, string> }): Promise<NodeAnswer>;
  get(key: string): Promise<NodeAnswer>;
  put(key: string, value: unknown, ttl?: string): Promise<NodeAnswer>;
  remove(key: string): Promise<NodeAnswer>;
  /** The JSON that a path answers. */
  json(path: string): Promise<ReturnType<typeof JSON.parse>>;
  /** The values of many keys; those that are not there are left out. Throws where a key fails otherwise. */
  values(keys: readonly string[]): Promise<Map<string, number>>;
}

const BATCH_KEYS = 500;

export function callsOf(port: number): NodeCalls {
  const call: NodeCalls["call"] = async (method, path, init = {}) => {
    const startMs = performance.now();
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...init });
    const text = await answer.text();
    const code = /"code":"([A-Z_]+)"/.exec(answer.ok ? "" : text)?.[1] ?? "";
    return { status: answer.status, headers: answer.headers, text, code, ms: performance.now() - startMs };
  };
  return {
    call,
    get: (key) => call("GET", `/api/cache/${encodeURIComponent(key)}`),
    put: (key, value, ttl) => call("POST", "/api/cache", { body: JSON.stringify({ key, value, ttl }) }),
    remove: (key) => call("DELETE", `/api/cache/${encodeURIComponent(key)}`),
    json: async (path) => JSON.parse((await call("GET", path)).text),
    async values(keys) {
      const values = new Map<string, number>();
      for (let first = 0; first < keys.length; first += BATCH_KEYS) {
        const operations = keys.slice(first, first + BATCH_KEYS).map((key) => ({ op: "get", key }));
        const answer = await call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
        for (const result of JSON.parse(answer.text).results) {
          if (result.status === 200) values.set(result.key, result.value);
          else if (result.status !== 404) throw new Error(`${result.key}: ${result.status} ${result.code}`);
        }
      }
      return values;
    },
  };
}
