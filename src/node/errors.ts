/** The node can't start, or can't go on. Its message is the one line that an operator reads. */
export class NodeError extends Error {
  readonly code = "ERR_NODE";
}
