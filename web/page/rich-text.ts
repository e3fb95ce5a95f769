/** What a text becomes when it is shown: words, and addresses that can be followed. Never markup. */

export type Piece = string | { href: string; text: string };

/** No white space, no quotes, and nothing that turns the direction of the writing: it could show another address than it is. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+/giu;
const TRAILING = /[.,;:!?…]+$/u;
const PAIRS: Record<string, string> = { ")": "(", "]": "[", "}": "{" };

/** A text in pieces, in order; together they are the text. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = followable(address);
    if (!href) continue;
    if (match.index > from) found.push(text.slice(from, match.index));
    found.push({ href, text: address });
    from = match.index + address.length;
  }
  if (from < text.length) found.push(text.slice(from));
  return found;
}

/** Without what belongs to the sentence around it: a full stop, a bracket that was not opened in the address. */
function trimmed(address: string): string {
  for (;;) {
    const shorter = address.replace(TRAILING, "");
    const last = shorter.at(-1) ?? "";
    const opening = PAIRS[last];
    const unopened = opening !== undefined && count(shorter, opening) < count(shorter, last);
    const next = unopened ? shorter.slice(0, -1) : shorter;
    if (next === address) return address;
    address = next;
  }
}

function count(text: string, char: string): number {
  return text.split(char).length - 1;
}

/** The address as a browser understands it, if it is one that may be followed: http or https, and no name before an `@`. */
function followable(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined;
  const url = new URL(address);
  const plain = (url.protocol === "http:" || url.protocol === "https:") && !url.username && !url.password && url.hostname.length > 0;
  return plain ? url.href : undefined;
}

const segmenter = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : undefined;
const PICTURE = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}{2})/u;

/** Whether a text is one to three emoji and nothing else: they are shown large. */
export function isJumbo(text: string): boolean {
  if (text.length > 64 || !segmenter) return false;
  const signs = [...segmenter.segment(text.trim())].map(({ segment }) => segment).filter((sign) => sign.trim());
  return signs.length >= 1 && signs.length <= 3 && signs.every((sign) => PICTURE.test(sign));
}
