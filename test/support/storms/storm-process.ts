/** Runs a storm in a process of its own: `storm-process.ts NAME PORT`. */
import { storms } from "./storms.ts";

const [name = "", port = ""] = process.argv.slice(2);
const storm = storms[name];
if (storm === undefined) throw new Error(`there is no storm ${JSON.stringify(name)}`);
storm(Number(port));
