/**
 * What the browser keeps for us, and why there.
 *
 * - The access token is in `localStorage`: who comes back, or opens a room's link in another tab, is logged in. It is sent in
 *   a header or in `hello` and nowhere else; logging out calls it back and ends every tab that came in with it.
 * - What was written and not sent yet is in `sessionStorage`: it belongs to the tab, and survives its reload.
 *
 * A browser may refuse both; then they last as long as the page.
 */

const memory = new Map<string, string>();

function store(kind: "localStorage" | "sessionStorage"): Storage | undefined {
  try {
    return globalThis[kind];
  } catch {
    return undefined;
  }
}

function slot(kind: "localStorage" | "sessionStorage", name: string) {
  const key = `hubbub.${name}`;
  return {
    key,
    get(): string | undefined { return store(kind)?.getItem(key) ?? memory.get(key) ?? undefined; },
    set(value: string | undefined): void {
      if (value === undefined) {
        memory.delete(key);
        store(kind)?.removeItem(key);
        return;
      }
      try {
        memory.delete(key);
        store(kind)!.setItem(key, value);
      } catch {
        memory.set(key, value);
      }
    },
  };
}

export const token = slot("localStorage", "token");
/** Last seq read of each room. */
export const read = (user: string) => slot("localStorage", `read.${user}`);
/** Messages that are not answered yet. */
export const outbox = (user: string) => slot("sessionStorage", `outbox.${user}`);
/** The text in a room's composer: its writer's alone, should somebody else log in in this tab. */
export const draft = (user: string, room: string) => slot("sessionStorage", `draft.${user}.${room}`);

/** A kept value as JSON; what can't be read counts as nothing. */
export function parsed<T>(text: string | undefined, otherwise: T): T {
  try {
    return text === undefined ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}
