import type { BackendSettings } from "../../src/backend/create-backend.ts";

/** Settings of a backend at `url`, as they are by default. */
export function backendSettings(url: string, changes: Partial<BackendSettings> = {}): BackendSettings {
  return {
    url,
    table: "servcache_entries",
    userSql: null,
    tlsCa: null,
    loadConnections: 4,
    writeConnections: 2,
    loadTimeoutMs: 1_000,
    writeTimeoutMs: 10_000,
    ...changes,
  };
}
