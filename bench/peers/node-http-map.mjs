// A cache as one writes it in an afternoon: node:http over a Map of Buffers, with the part of ServCache's REST API that
// the benchmarks use. Values are kept as JSON text and sent as they are; nothing is parsed that need not be.
// usage: node node-http-map.mjs serve --addr 127.0.0.1:PORT
import { createServer } from "node:http";

const entries = new Map();
let hits = 0;
let misses = 0;

const CACHE_PATH = "/api/cache/";
const NOT_FOUND = Buffer.from('{"error":"the key is not in the cache","code":"ERR_NOT_FOUND","trace_id":"0"}');
const SUCCESS = Buffer.from('{"status":"success"}');
const CLOSING_BRACE = Buffer.from("}");

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const { method, url } = request;
  if (method === "GET" && url.startsWith(CACHE_PATH))
    return get(decodeURIComponent(url.slice(CACHE_PATH.length)), response);
  if (method === "GET" && url === "/api/stats") {
    const { rss } = process.memoryUsage();
    return json(
      response,
      200,
      Buffer.from(JSON.stringify({ entries: entries.size, hits, misses, evictions: 0, bytes: rss, limit_bytes: rss })),
    );
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    if (method === "POST" && url === "/api/cache") return post(body, response);
    if (method === "POST" && url === "/api/batch") return batch(body, response);
    if (method === "PUT") return put(decodeURIComponent(url.slice(CACHE_PATH.length)), body, response);
    if (method === "DELETE") return deletePrefix(decodeURIComponent(url.split("pattern=")[1] ?? "*"), response);
    json(response, 405, NOT_FOUND);
  });
});

function get(key, response) {
  const value = entries.get(key);
  if (value === undefined) {
    misses++;
    return json(response, 404, NOT_FOUND);
  }
  hits++;
  json(response, 200, Buffer.concat([Buffer.from(`{"key":${JSON.stringify(key)},"value":`), value, CLOSING_BRACE]));
}

function post(body, response) {
  const { key, value } = JSON.parse(body);
  entries.set(key, Buffer.from(JSON.stringify(value)));
  json(response, 200, SUCCESS);
}

function put(key, body, response) {
  entries.set(key, body);
  json(response, 200, SUCCESS);
}

function batch(body, response) {
  const parts = ['{"results":['];
  for (const { op, key, value } of JSON.parse(body).operations) {
    if (parts.length > 1) parts.push(",");
    if (op === "set") {
      entries.set(key, Buffer.from(JSON.stringify(value)));
      parts.push('{"status":200}');
      continue;
    }
    const found = entries.get(key);
    if (found === undefined) parts.push(`{"status":404,"code":"ERR_NOT_FOUND","key":${JSON.stringify(key)}}`);
    else parts.push(`{"status":200,"key":${JSON.stringify(key)},"value":${found.toString()}}`);
  }
  parts.push("]}");
  json(response, 200, Buffer.from(parts.join("")));
}

function deletePrefix(pattern, response) {
  const prefix = pattern.replace(/\*$/, "");
  let deleted = 0;
  for (const key of entries.keys()) if (key.startsWith(prefix) && entries.delete(key)) deleted++;
  json(response, 200, Buffer.from(JSON.stringify({ status: "success", deleted })));
}

function json(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": body.length });
  response.end(body);
}

const address = process.argv[process.argv.indexOf("--addr") + 1] ?? "127.0.0.1:8088";
server.listen({ host: "127.0.0.1", port: Number(address.split(":").at(-1)) });
process.on("SIGTERM", () => process.exit(0));
