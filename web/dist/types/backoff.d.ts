/**
 * Milliseconds to wait before the next attempt, after so many failures in a row (0 is the first).
 *
 * Full jitter: a random part of a ceiling that doubles, so that many clients of one lost server don't come back together.
 * What the server asked for in its `bye` is waited in any case, and the jitter comes on top.
 */
export declare function backoff(failures: number, atLeast?: number, random?: () => number): number;
