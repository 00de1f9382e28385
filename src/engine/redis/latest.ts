import type { Stamp } from "../../model/stamp.ts";
import { toVersion } from "./stored-form.ts";

/**
 * A stamp newer than all stamps that a node makes. For local stores only: it is never persisted, and never sent to a
 * peer.
 */
export const LATEST: Stamp = { version: toVersion(Number.MAX_SAFE_INTEGER), nodeId: 0xffff_ffff };
