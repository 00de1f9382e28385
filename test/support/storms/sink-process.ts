/** A server that a storm can be sent to in a node's place: takes every body, gives the largest value. Prints its port. */

const VALUE = new Uint8Array(16 * 1024 ** 2);
const VALUES_IN_BATCH = 2;

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (request.method === "GET") return new Response(VALUE);
    await request.arrayBuffer();
    if (pathname === "/api/batch") return new Response(new Blob(Array.from({ length: VALUES_IN_BATCH }, () => VALUE)));
    return new Response(null, { status: pathname === "/api/replication" ? 403 : 200 });
  },
});
console.log(`127.0.0.1:${server.port} `);
