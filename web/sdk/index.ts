export { Accounts } from "./accounts.ts";
export { backoff } from "./backoff.ts";
export { Client, newKey, type Events, type Options, type State } from "./client.ts";
export { Emitter } from "./emitter.ts";
export { obeyed } from "./erased.ts";
export { asHubbubError, HubbubError, type ErrorCode } from "./errors.ts";
export type * from "./protocol.ts";
