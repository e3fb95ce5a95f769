import type { Entry, Erase } from "./protocol.ts";
/**
 * An entry as it is once `order` came: a message that is meant loses what it says, and any other entry stays as it is.
 *
 * Whoever shows or keeps entries calls it with each `erase` that comes, on all that came before.
 */
export declare function obeyed(entry: Entry, order: Erase): Entry;
