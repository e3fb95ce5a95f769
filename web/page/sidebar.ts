import { connectionChip } from "./connection.ts";
import { avatar, bdi, h, icon, iconButton, mark, onceAFrame, patch } from "./dom.ts";
import { href } from "./route.ts";
import { makeRoom } from "./make-room.ts";
import { title } from "./title.ts";
import type { Chat, Joined } from "./chat.ts";

const UNREAD_SHOWN = 99;

/** The rooms that we are in, and who we are. */
export class Sidebar {
  readonly element: HTMLElement;
  #chat: Chat;
  #list = h("ul", { class: "room-list" });
  #filter = h("input", { type: "search", placeholder: "Find in your rooms", "aria-label": "Find in your rooms", oninput: () => this.#show() });
  #here?: string;
  /** Once for all that changes in one frame: a busy room would draw the list a hundred times a second. */
  #later = onceAFrame(() => { if (this.element.isConnected) this.#show(); });

  constructor(chat: Chat, logOut: () => void) {
    this.#chat = chat;
    const browse = h("a", { class: "browse", href: href({ at: "rooms" }) }, icon("search"), "Browse all rooms");
    this.element = h("div", { class: "sidebar", role: "navigation", "aria-label": "Your rooms and you" },
      h("div", { class: "side-head" },
        h("h1", {}, h("a", { class: "brand small-brand", href: href({ at: "home" }) }, mark(), "Hubbub")),
        iconButton("plus", "New room", () => makeRoom(chat))),
      h("div", { class: "side-search" }, icon("search"), this.#filter),
      h("div", { class: "side-rooms" }, h("h2", { class: "side-title" }, "Your rooms"), this.#list, browse),
      h("div", { class: "me" },
        avatar(chat.me),
        h("div", { class: "me-words" }, bdi(chat.me.name), connectionChip(chat, true).element),
        iconButton("out", "Log out", logOut)));
    chat.on("rooms", () => this.#later());
    this.#show();
  }

  /** Marks the room that is shown. */
  set here(id: string | undefined) {
    this.#here = id;
    title({ room: undefined });
    this.#show();
  }

  /** On a phone the rooms are a view of their own: then this is what the page is about. */
  set alone(alone: boolean) {
    this.element.setAttribute("role", alone ? "main" : "navigation");
  }

  focusFilter(): void {
    this.#filter.focus();
    this.#filter.select();
  }

  /** The room before or after the one that is shown. */
  neighbor(step: 1 | -1): string | undefined {
    const ids = this.#rooms().map(({ id }) => id);
    if (ids.length === 0) return undefined;
    const at = ids.indexOf(this.#here ?? "");
    return ids[at < 0 ? 0 : (at + step + ids.length) % ids.length];
  }

  #rooms(): Joined[] {
    const wanted = this.#filter.value.trim().toLocaleLowerCase();
    const rooms = [...this.#chat.rooms.values()].filter(({ name }) => name.toLocaleLowerCase().includes(wanted));
    return rooms.sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
  }

  #show(): void {
    const rooms = this.#rooms();
    const all = this.#chat.rooms.size;
    patch(this.#list, rooms.length > 0 ? rooms.map((room) => this.#row(room))
      : h("li", { class: "side-empty" }, all === 0 ? "You are in no room yet." : "None of your rooms is called that."));
    const unread = [...this.#chat.rooms.values()].reduce((sum, room) => sum + this.#chat.unread(room), 0);
    const name = this.#chat.rooms.get(this.#here ?? "")?.name;
    title({ unread: unread > 0 ? `(${shown(unread)}) ` : "", ...(name !== undefined && { room: name }) });
  }

  #row(room: Joined): HTMLElement {
    const unread = this.#chat.unread(room);
    const here = room.id === this.#here;
    const link = h("a", {
      href: href({ at: "room", id: room.id }), class: `room-link${unread ? " unread" : ""}`, "data-room": room.id,
      ...(here ? { "aria-current": "page" } : {}),
    }, h("bdi", { class: "room-name" }, room.name), unread > 0 && h("span", { class: "count" }, shown(unread), h("span", { class: "heard" }, " unread")));
    return h("li", { "data-key": `row-${room.id}` }, link);
  }
}

function shown(unread: number): string {
  return unread > UNREAD_SHOWN ? `${UNREAD_SHOWN}+` : String(unread);
}
