import { MAX_NODE_ID, type Stamp, toVersion } from "../../model/stamp.ts";

/**
 * A stamp newer than all stamps that a node makes. For local stores only: it is never persisted, and never sent to a
 * peer.
 */
export const LATEST: Stamp = { version: toVersion(Number.MAX_SAFE_INTEGER), nodeId: MAX_NODE_ID };
