/** A configuration value is invalid. The message is one line for the operator: the name, the value, and what to do. */
export class ConfigError extends Error {
  readonly code = "ERR_CONFIG";
}
