/**
 * What the browser keeps for us, and why there.
 *
 * - The access token is in `localStorage`: who comes back, or opens a room's link in another tab, is logged in. It is sent in
 *   a header or in `hello` and nowhere else; logging out calls it back and ends every tab that came in with it.
 * - What was written and not sent yet is in `sessionStorage`: it belongs to the tab, and survives its reload. Each picture is there
 *   by itself: some of them fill it, and then they make room for texts.
 *
 * A browser may refuse both, or have no room left; then they last as long as the page.
 */

/** What the browser did not take, which is newer than what it may have under the same name. */
const memory = new Map<string, string>();
const PICTURES = "hubbub.picture.";

function store(kind: "localStorage" | "sessionStorage"): Storage | undefined {
  try {
    return globalThis[kind];
  } catch {
    return undefined;
  }
}

/** Takes a picture out of the browser's storage, where there is one: the page still has it. */
function makeRoom(storage: Storage): boolean {
  for (let at = 0; at < storage.length; at += 1) {
    const key = storage.key(at)!;
    if (!key.startsWith(PICTURES)) continue;
    memory.set(key, storage.getItem(key)!);
    storage.removeItem(key);
    return true;
  }
  return false;
}

function slot(kind: "localStorage" | "sessionStorage", name: string) {
  const key = `hubbub.${name}`;
  return {
    key,
    get(): string | undefined { return memory.get(key) ?? store(kind)?.getItem(key) ?? undefined; },
    /** Says whether the browser keeps it: if not, it is gone with the page. */
    set(value: string | undefined): boolean {
      memory.delete(key);
      const storage = store(kind);
      if (value === undefined) {
        storage?.removeItem(key);
        return true;
      }
      for (;;) {
        try {
          storage!.setItem(key, value);
          return true;
        } catch {
          if (storage && kind === "sessionStorage" && !key.startsWith(PICTURES) && makeRoom(storage)) continue;
          memory.set(key, value);
          return false;
        }
      }
    },
    /** Whether the browser keeps it; if it had no room it is tried `again`, for there may be some now. */
    lasts(again: boolean): boolean {
      const value = memory.get(key);
      return value === undefined || (again && this.set(value));
    },
  };
}

export const token = slot("localStorage", "token");
/** Last seq read of each room. */
export const read = (user: string) => slot("localStorage", `read.${user}`);
/** Messages that are not answered yet, without their pictures. */
export const outbox = (user: string) => slot("sessionStorage", `outbox.${user}`);
/** The text in a room's composer: its writer's alone, should somebody else log in in this tab. */
export const draft = (user: string, room: string) => slot("sessionStorage", `draft.${user}.${room}`);
/** A picture of a message that is not answered yet, by its key, or that was chosen in a room, by the room's id. */
export const picture = (user: string, of: string) => slot("sessionStorage", `picture.${user}.${of}`);

/** Whether something that was written would be lost with the page. */
export function wouldBeLost(): boolean {
  return [...memory.keys()].some((key) => key.startsWith(PICTURES) || /^hubbub\.(outbox|draft)\./.test(key));
}

/** A kept value as JSON; what can't be read counts as nothing. */
export function parsed<T>(text: string | undefined, otherwise: T): T {
  try {
    return text === undefined ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}
