import { avatar, bdi, h, iconButton, keepingFocus, onceAFrame, patch } from "./dom.ts";
import { dialog, toast } from "./notices.ts";
import { asSaid } from "./words.ts";
import type { Chat } from "./chat.ts";
import { asHubbubError, type Entry, type Member, type Opened } from "../sdk/index.ts";

/** More than so many are not listed: the number says enough. */
const LISTED_MAX = 500;

/** Who is a member of a room, and who of them is there. */
export class People {
  readonly element = h("section", { class: "people" });
  #chat: Chat;
  #room: string;
  /** Of all who were listed here: their names are still known when they are members no more. */
  readonly names = new Map<string, string>();
  #members = new Map<string, Member>();
  #next?: string;
  #owner = "";
  /** How many are there, in a room that is too large to be told who. */
  #count?: number;
  #onChange: () => void;
  #stops: (() => void)[];
  #later = onceAFrame(() => {
    this.#show();
    this.#onChange();
  });

  constructor(chat: Chat, room: string, onChange: () => void) {
    this.#chat = chat;
    this.#room = room;
    this.#onChange = onChange;
    this.#stops = [
      chat.client.on("presence", (event) => {
        if (event.room !== room) return;
        if (event.count !== undefined) this.#count = event.count;
        else if (event.user) this.#put({ ...event.user, online: event.online ?? false });
        this.#later();
      }),
      chat.on("entry", (entry) => { if (entry.room === room) this.#onEntry(entry); }),
    ];
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  get online(): number {
    return this.#count ?? [...this.#members.values()].filter(({ online }) => online).length;
  }

  show({ members, room }: Opened, owner: string): void {
    this.#owner = owner;
    this.#members = new Map(members.map((member) => [member.id, member]));
    // `open` gives the first page, and does not say whether there is another.
    this.#next = members.length < room.members ? members.at(-1)?.id : undefined;
    this.#show();
  }

  #put(member: Member): void {
    if (this.#members.has(member.id) || this.#members.size < LISTED_MAX) this.#members.set(member.id, { ...this.#members.get(member.id), ...member });
  }

  #onEntry(entry: Entry): void {
    if (entry.type === "join") this.#put({ ...entry.user, online: true });
    else if (entry.type === "leave") this.#members.delete(entry.user.id);
    else return;
    this.#later();
  }

  async #more(): Promise<void> {
    try {
      const page = await this.#chat.client.members(this.#room, { cursor: this.#next, limit: 100 });
      for (const member of page.members) this.#put(member);
      this.#next = this.#members.size < LISTED_MAX ? page.next : undefined;
      this.#show();
    } catch (error) {
      toast(asSaid(error));
    }
  }

  #show(): void {
    for (const { id, name } of this.#members.values()) this.names.set(id, name);
    const all = [...this.#members.values()].sort((a, b) => Number(b.online) - Number(a.online) || a.name.localeCompare(b.name));
    const mayRemove = this.#owner === this.#chat.me.id && this.#chat.rooms.has(this.#room);
    keepingFocus(this.element, () => patch(this.element,
      h("h3", {}, "People"),
      h("ul", { class: "people-list" }, all.map((member) => h("li", { class: member.online ? "person online" : "person", "data-key": `person-${member.id}` },
        avatar(member),
        h("span", { class: "person-words" }, bdi(member.name),
          h("span", { class: "soft" }, [member.id === this.#owner && "Owner", member.id === this.#chat.me.id && "You", member.online ? "Online" : "Away"].filter(Boolean).join(" · "))),
        mayRemove && member.id !== this.#chat.me.id && iconButton("close", `Remove ${member.name}`, () => this.#remove(this.#members.get(member.id) ?? member), { "data-key": `remove-${member.id}` })))),
      this.#next && h("button", { type: "button", class: "link", "data-key": "more-people", onclick: () => void this.#more() }, "Show more")));
  }

  #remove(member: Member): void {
    dialog(`Remove ${member.name}?`, "Remove", async () => {
      await this.#chat.client.kick(this.#room, member.id).catch((error) => {
        // Of an owner's request it is said of whom it names.
        if (asHubbubError(error).code !== "not_member") throw error;
        toast(`${member.name} is not a member of this room any more.`);
      });
    }, h("p", { class: "soft" }, "They are sent nothing more from this room. They can join it again."));
  }
}
