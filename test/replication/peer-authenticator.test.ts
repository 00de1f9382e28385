import { describe, expect, test } from "bun:test";
import { PeerAuthenticator } from "../../src/replication/peer-authenticator.ts";

const nowhere = async (): Promise<readonly string[]> => [];

describe("who may replicate to a node", () => {
  test("with a token: whoever knows it, from wherever, and nobody else", () => {
    const gate = new PeerAuthenticator({ token: "secret", hosts: ["10.0.0.2"], resolve: nowhere });
    expect(gate.admits("Bearer secret", "203.0.113.7")).toBe(true);
    expect(gate.admits("bearer secret", "203.0.113.7")).toBe(true);
    for (const wrong of [null, "", "secret", "Basic secret", "Bearer", "Bearer secre", "Bearer secrets"]) {
      expect([wrong, gate.admits(wrong, "127.0.0.1")]).toEqual([wrong, false]);
    }
    const spaced = new PeerAuthenticator({ token: "of all nodes", hosts: [], resolve: nowhere });
    expect([spaced.admits("Bearer of all nodes", "10.0.0.2"), spaced.admits("Bearer of", "10.0.0.2")]).toEqual([
      ...[true, false],
    ]);
  });

  test("without one: loopback and the addresses of the peers", async () => {
    const gate = new PeerAuthenticator({
      token: null,
      hosts: ["10.0.0.2", "cache.example.com"],
      resolve: async (host) => (host === "cache.example.com" ? ["198.51.100.4", "2001:db8::4"] : []),
    });
    await gate.refresh();
    for (const known of [
      "127.0.0.1",
      "::1",
      "::ffff:127.0.0.1",
      "10.0.0.2",
      "::ffff:10.0.0.2",
      "198.51.100.4",
      "2001:db8::4",
    ]) {
      expect([known, gate.admits(null, known)]).toEqual([known, true]);
    }
    for (const other of ["10.0.0.3", "192.0.2.1", "", "127.example.com"]) {
      expect([other, gate.admits(null, other)]).toEqual([other, false]);
    }
  });

  test("a host that can't be looked up for a while keeps its addresses; one that moved loses the old", async () => {
    let answer: readonly string[] | null = ["198.51.100.4"];
    const resolve = async () => {
      if (answer === null) throw new Error("no name server");
      return answer;
    };
    const gate = new PeerAuthenticator({ token: null, hosts: ["cache.example.com"], resolve });
    await gate.refresh();
    answer = null;
    await gate.refresh();
    expect(gate.admits(null, "198.51.100.4")).toBe(true);
    answer = ["198.51.100.5"];
    await gate.refresh();
    expect([gate.admits(null, "198.51.100.4"), gate.admits(null, "198.51.100.5")]).toEqual([false, true]);
  });
});
