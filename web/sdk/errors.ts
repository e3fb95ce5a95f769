/** Codes of the server (`docs/protocol.md`, Errors), and our own: */
export type ErrorCode =
  | "bad_request" | "unauthorized" | "forbidden" | "not_member" | "no_such_room" | "too_large"
  | "rate_limited" | "conflict" | "unavailable" | "internal" | "accounts_elsewhere"
  /** The connection was lost before the answer came. */
  | "lost"
  /** No answer in time. */
  | "timed_out"
  /** `close()` was called, or the server won't have us. */
  | "closed";

/** Something was refused, or could not be done. `message` is for a person. */
export class HubbubError extends Error {
  override readonly name = "HubbubError";

  constructor(
    readonly code: ErrorCode | (string & {}),
    message: string,
    /** The field of the request that is wrong. */
    readonly field?: string,
    /** Milliseconds after which it may go well. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Any error as one of ours. */
export function asHubbubError(error: unknown): HubbubError {
  return error instanceof HubbubError ? error : new HubbubError("internal", String(error));
}
