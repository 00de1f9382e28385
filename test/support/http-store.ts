/** A store behind HTTP, as an application team would write one. It refuses older versions and the key `poison`. */
export interface HttpStore extends Disposable {
  readonly url: string;
  readonly entries: Map<string, { readonly body: Buffer; readonly type: string; readonly version: number }>;
  readonly requests: { readonly method: string; readonly path: string; readonly headers: Headers }[];
  /** What to answer in place of the store; null = the store answers. */
  answer: ((request: Request) => Response | Promise<Response>) | null;
}

export function startHttpStore(): HttpStore {
  const entries: HttpStore["entries"] = new Map();
  const requests: HttpStore["requests"] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    maxRequestBodySize: 64 * 1024 * 1024,
    async fetch(request) {
      const path = request.url.slice(request.url.indexOf("/", 8));
      requests.push({ method: request.method, path, headers: request.headers });
      if (store.answer !== null) return store.answer(request);
      return answer(request, decodeURIComponent(path.replace("/base/", "")));
    },
  });

  async function answer(request: Request, key: string): Promise<Response> {
    const entry = entries.get(key);
    if (request.method === "GET") {
      if (entry === undefined) return new Response("none", { status: 404 });
      return new Response(new Uint8Array(entry.body), { headers: { "content-type": entry.type } });
    }
    if (key === "poison") return new Response("no such customer", { status: 422 });
    const version = Number(request.headers.get("x-servcache-version"));
    if (entry !== undefined && entry.version > version) return new Response("older", { status: 412 });
    const body = Buffer.from(await request.arrayBuffer());
    if (request.method === "DELETE") entries.delete(key);
    else entries.set(key, { body, type: request.headers.get("content-type") ?? "", version });
    return new Response("ok");
  }

  const store: HttpStore = {
    url: `http://127.0.0.1:${server.port}/base`,
    entries,
    requests,
    answer: null,
    [Symbol.dispose]: () => server.stop(true),
  };
  return store;
}
