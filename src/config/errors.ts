/** A value that can't be used. Its message is the one line that an operator reads: which name, what value, what to do. */
export class ConfigError extends Error {
  readonly code = "ERR_CONFIG";
}
