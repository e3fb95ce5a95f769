/** Times and numbers as the reader's language writes them. */

const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: "long", month: "long", day: "numeric" });
const otherYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "long", day: "numeric" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const whole = new Intl.NumberFormat();

export const clock = (at: number): string => time.format(at);
export const moment = (at: number): string => full.format(at);
export const number = (n: number): string => whole.format(n);

/** The reader's day that a moment falls into, as a number that tells days apart. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return date.getFullYear() * 10_000 + date.getMonth() * 100 + date.getDate();
}

/** "today", "yesterday", or the date. */
export function day(at: number, now = Date.now()): string {
  if (dayOf(at) === dayOf(now)) return capital(relative.format(0, "day"));
  if (dayOf(at) === dayOf(now - 86_400_000)) return capital(relative.format(-1, "day"));
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? thisYear : otherYear).format(at);
}

function capital(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${number(n)} ${n === 1 ? one : many}`;
}

/** Characters as the server counts them. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
