import { asHubbubError } from "../sdk/index.ts";

/** What went wrong, as one person would say it to another. */
export function asSaid(caught: unknown): string {
  const error = asHubbubError(caught);
  switch (error.code) {
    case "lost": return "The server can’t be reached. Check your connection and try again.";
    case "timed_out": return "The server did not answer in time. Try again.";
    case "unavailable": return "The server can’t do this just now. Try again in a moment.";
    case "rate_limited": return `That was a lot at once. Try again ${soon(error.retryAfter)}.`;
    case "not_member": return "You are not a member of this room any more.";
    case "no_such_room": return "There is no such room.";
    case "internal": return "Something is wrong with the server. Try again later.";
    case "conflict": return "It can’t be told any more whether this was sent. Look at the room, then discard it or write it again.";
    default: return sentence(error.message);
  }
}

function soon(ms = 1_000): string {
  const seconds = Math.ceil(ms / 1_000);
  return seconds <= 1 ? "in a second" : seconds < 120 ? `in ${seconds} seconds` : `in ${Math.ceil(seconds / 60)} minutes`;
}

/** The server's words begin small and end without a stop. */
export function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
