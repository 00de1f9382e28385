import type { Stamp } from "../../model/stamp.ts";
import { toVersion } from "./stored-form.ts";

/** Newer than every stamp that a node makes. For local stores only: nothing remembers it, and no peer sees it. */
export const LATEST: Stamp = { version: toVersion(Number.MAX_SAFE_INTEGER), nodeId: 0xffff_ffff };
