const FIRST = 200;
const LONGEST = 10_000;

/**
 * Milliseconds to wait before the next attempt, after so many failures in a row (0 is the first).
 *
 * Full jitter: a random part of a ceiling that doubles, so that many clients of one lost server don't come back together.
 * What the server asked for in its `bye` is waited in any case, and the jitter comes on top.
 */
export function backoff(failures: number, atLeast = 0, random = Math.random): number {
  return atLeast + Math.min(LONGEST, FIRST * 2 ** Math.min(failures, 16)) * random();
}
