import { bdi, h, icon, keepingFocus, onceAFrame, patch, put } from "./dom.ts";
import { plural } from "./format.ts";
import { toast } from "./notices.ts";
import { go, href } from "./route.ts";
import { makeRoom } from "./make-room.ts";
import { asSaid } from "./words.ts";
import type { Chat } from "./chat.ts";
import type { ListedRoom } from "../sdk/index.ts";

const PAGE = 100;
/** A search looks through so many rooms, the newest; the list holds no more. */
const ROOMS_MAX = 2_000;
/** So many are drawn at once. */
const SHOWN = 100;

/** All rooms there are: looked through, joined, and growing while one looks. */
export class Directory {
  readonly element: HTMLElement;
  #chat: Chat;
  #rooms = new Map<string, ListedRoom>();
  #made = new Set<string>();
  #next?: string;
  #done = false;
  /** All of them are being read, for a search. */
  #looking = false;
  #problem?: string;
  #shown = SHOWN;
  /** Once for all that changes in one frame: who makes rooms by the hundred is not to hold up those who look. */
  #later = onceAFrame(() => this.#show());
  #list = h("ul", { class: "cards" });
  #state = h("p", { class: "soft", role: "status" });
  #more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.#showMore() }, "Show more");
  #search = h("input", { type: "search", placeholder: "Search by name or topic", "aria-label": "Search all rooms", oninput: () => this.#onSearch() });
  #abort = new AbortController();
  #stops: (() => void)[];

  constructor(chat: Chat) {
    this.#chat = chat;
    this.element = h("main", { class: "pane directory" },
      h("header", { class: "pane-head" },
        h("a", { class: "icon-button phone-only", href: href({ at: "home" }), "aria-label": "Back to your rooms" }, icon("back")),
        h("h1", {}, "Rooms"),
        h("button", { type: "button", class: "primary compact", onclick: () => makeRoom(chat) }, icon("plus"), "New room")),
      h("div", { class: "scroll directory-scroll", tabIndex: -1 },
        h("div", { class: "search" }, icon("search"), this.#search),
        this.#list, this.#state, this.#more));
    this.#stops = [
      chat.on("rooms", () => this.#later()),
      chat.on("made", (room) => {
        this.#made.add(room.id);
        // When it was made is not told. The newest stands first, whatever this machine's clock says.
        const newest = Math.max(0, ...[...this.#rooms.values()].map(({ created_at = 0 }) => created_at));
        this.#rooms.set(room.id, { ...room, created_at: room.created_at ?? Math.max(Date.now(), newest + 1) });
        this.#later();
      }),
      // What was made while we were away is not told again.
      chat.client.on("welcome", () => void this.#read(true)),
    ];
    this.#skeleton();
    void this.#read(true);
  }

  close(): void {
    this.#abort.abort();
    for (const stop of this.#stops) stop();
  }

  async #read(anew = false): Promise<void> {
    try {
      const page = await this.#chat.client.rooms({ limit: PAGE, cursor: anew ? undefined : this.#next }, { signal: this.#abort.signal });
      for (const room of page.rooms) this.#rooms.set(room.id, room);
      if (!anew || this.#next === undefined) this.#next = page.next;
      this.#done = this.#next === undefined || this.#rooms.size >= ROOMS_MAX;
      this.#problem = undefined;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#problem = asSaid(error);
    }
    this.#show();
  }

  #onSearch(): void {
    this.#shown = SHOWN;
    this.#show();
    void this.#readAll();
  }

  /** A search is of all of them, not of those that happen to be here. However many keys it took, they are read once. */
  async #readAll(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    while (this.#search.value.trim() && !this.#done && !this.#problem && !this.#abort.signal.aborted) await this.#read();
    this.#looking = false;
  }

  async #again(): Promise<void> {
    await this.#read();
    await this.#readAll();
  }

  async #showMore(): Promise<void> {
    this.#shown += SHOWN;
    if (this.#shown > this.#rooms.size && !this.#done) await this.#read();
    this.#show();
  }

  #skeleton(): void {
    put(this.#list, Array.from({ length: 5 }, () => h("li", { class: "card-row skeleton", "aria-hidden": "true" }, h("span", {}), h("span", {}))));
  }

  #show(): void {
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    const all = [...this.#rooms.values()].sort((a, b) => (b.created_at ?? 0) - (a.created_at ?? 0));
    for (const { id } of all.splice(ROOMS_MAX)) {
      this.#rooms.delete(id);
      this.#made.delete(id);
    }
    const found = all.filter(({ name, topic }) => `${name}\n${topic}`.toLocaleLowerCase().includes(wanted));
    keepingFocus(this.#list, () => patch(this.#list, found.slice(0, this.#shown).map((room) => this.#card(room))));
    this.#more.hidden = found.length <= this.#shown && (this.#done || !!wanted);
    patch(this.#state, this.#words(found.length, wanted));
  }

  #words(found: number, wanted: string): (Node | string)[] {
    if (this.#problem) {
      return [`${this.#problem} `, h("button", { type: "button", class: "link", "data-key": "rooms-again", onclick: () => void this.#again() }, "Try again")];
    }
    if (found > 0) return [];
    if (!this.#done) return ["Looking…"];
    return wanted
      ? ["No room has that in its name or topic. ", h("button", { type: "button", class: "link", "data-key": "make-one", onclick: () => makeRoom(this.#chat) }, "Make one")]
      : ["There is no room yet. ", h("button", { type: "button", class: "link", "data-key": "make-one", onclick: () => makeRoom(this.#chat) }, "Make the first one")];
  }

  #card(room: ListedRoom): HTMLElement {
    const joined = this.#chat.rooms.get(room.id);
    const unread = joined ? this.#chat.unread(joined) : 0;
    const join = async () => {
      try {
        const { seq } = await this.#chat.client.join(room.id);
        this.#chat.onJoined({ ...this.#rooms.get(room.id) ?? room, head: seq });
        go({ at: "room", id: room.id });
      } catch (error) {
        toast(asSaid(error));
      }
    };
    return h("li", { class: `card-row${this.#made.has(room.id) ? " fresh" : ""}`, "data-key": `card-${room.id}` },
      h("a", { class: "card-link", href: href({ at: "room", id: room.id }), "data-key": `open-${room.id}` },
        h("span", { class: "card-name" }, bdi(room.name), unread > 0 && h("span", { class: "count" }, `${unread > 99 ? "99+" : unread}`, h("span", { class: "heard" }, " unread"))),
        h("span", { class: "card-topic", dir: "auto" }, room.topic || "No topic"),
        h("span", { class: "card-count" }, plural(Math.max(room.members, joined ? 1 : 0), "member"))),
      joined
        ? h("span", { class: "joined" }, icon("check"), "Joined")
        : h("button", { type: "button", class: "quiet", onclick: join, "data-key": `join-${room.id}`, "aria-label": `Join ${room.name}` }, "Join"));
  }
}

