import { bounded } from "./bounded.ts";
import { Composer } from "./composer.ts";
import { connectionBanner, connectionChip } from "./connection.ts";
import { bdi, h, icon, iconButton, keepingFocus, patch, put } from "./dom.ts";
import { plural } from "./format.ts";
import { dialog, input, toast } from "./notices.ts";
import { People } from "./people.ts";
import { go, href } from "./route.ts";
import { Timeline } from "./timeline.ts";
import { title } from "./title.ts";
import { asSaid } from "./words.ts";
import type { Chat } from "./chat.ts";
import { asHubbubError, type Content, type Opened, type Room } from "../sdk/index.ts";

/** Newest entries that a room opens with. */
const OPENED = 100;

/** One room: what is said in it, who is there, and where one writes. */
export class RoomPane {
  readonly element: HTMLElement;
  readonly id: string;
  #chat: Chat;
  #room?: Room;
  #timeline: Timeline;
  #composer?: Composer;
  #people: People;
  #title = h("h1", { tabIndex: -1 }, "…");
  #under = h("p", { class: "under" });
  #writing = h("p", { class: "writing", role: "status" });
  #foot = h("div", { class: "foot" });
  #aside: HTMLElement;
  #topic = h("section", {});
  #actions = h("section", { class: "aside-actions" });
  #toggle: HTMLButtonElement;
  #abort = new AbortController();
  #stops: (() => void)[];
  #opened = false;

  constructor(chat: Chat, id: string, seq?: number) {
    this.#chat = chat;
    this.id = id;
    this.#people = new People(chat, id, () => this.#showUnder());
    this.#timeline = new Timeline(chat, id, (at) => void this.#copyLink(at), (user) => this.#people.names.get(user));
    const banner = connectionBanner(chat);
    const chip = connectionChip(chat, false);
    this.#toggle = iconButton("people", "People and details", () => this.#showAside(!!this.#aside.hidden), { "aria-expanded": "false", "aria-controls": "aside" });
    this.#aside = h("aside", { class: "aside", id: "aside", "aria-label": "People and details", hidden: true },
      h("header", { class: "aside-head" }, h("h2", {}, "Details"), iconButton("close", "Close details", () => this.escape(), { "data-key": "close-details" })),
      h("div", { class: "scroll aside-scroll", tabIndex: -1 }, this.#topic, this.#actions, this.#people.element));
    this.element = h("div", { class: "pane room" },
      h("main", { class: "room-main", ondrop: (event: DragEvent) => this.#onDrop(event) },
        h("header", { class: "pane-head" },
          h("a", { class: "icon-button phone-only", href: href({ at: "home" }), "aria-label": "Back to your rooms" }, icon("back")),
          h("div", { class: "title" }, this.#title, this.#under),
          chip.element, this.#toggle),
        banner.element, this.#timeline.element, this.#writing, this.#foot),
      this.#aside);
    this.#stops = [
      chip.stop,
      banner.stop,
      chat.on("writing", (room) => { if (room === id) this.#showWriting(); }),
      chat.on("joined", (room) => { if (room === id && this.#opened) void this.#open(); }),
      chat.on("left", (room) => {
        if (room !== id || !this.#room) return;
        this.#showFoot();
        this.#showDetails();
      }),
      chat.on("entry", (entry) => {
        // What is read again may be newer than what is still told of.
        if (entry.room !== id || !this.#room || entry.seq <= this.#room.head) return;
        this.#room.head = entry.seq;
        if (entry.type === "topic") this.#room.topic = entry.topic;
        if (entry.type === "join") this.#room.members += 1;
        if (entry.type === "leave") this.#room.members -= 1;
        if (entry.type !== "message") this.#showHead();
      }),
      chat.client.on("welcome", () => {
        // Who looks in from outside is sent nothing: it is read again when the connection is back.
        if (!chat.rooms.has(id) || !this.#opened) void this.#open();
        else void this.#reread();
      }),
      chat.on("reread", ({ room }) => { if (room === id && this.#opened) void this.#reread(); }),
    ];
    const known = chat.rooms.get(id);
    if (known) put(this.#title, bdi(known.name));
    this.#timeline.wait();
    // Its place is taken before it is filled: what is beside it must not move.
    this.#showAside(matchMedia("(min-width: 1200px)").matches);
    void this.#open(seq);
  }

  close(): void {
    this.#abort.abort();
    this.#timeline.close();
    this.#people.close();
    for (const stop of this.#stops) stop();
  }

  to(seq: number): void {
    void this.#timeline.to(seq);
  }

  /** Closes what lies over the room; says whether there was anything. */
  escape(): boolean {
    if (this.#aside.hidden) return false;
    this.#showAside(false);
    this.#toggle.focus();
    return true;
  }

  async #open(seq?: number): Promise<void> {
    let opened: Opened;
    try {
      opened = await this.#chat.client.open(this.id, { limit: OPENED }, { signal: this.#abort.signal });
      // The room may have been left while the answer was on its way: what nobody looks at is not read.
      this.#abort.signal.throwIfAborted();
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#showProblem(error);
      return;
    }
    const first = !this.#opened;
    this.#opened = true;
    this.#room = opened.room;
    this.#toggle.hidden = false;
    const joined = this.#chat.rooms.get(this.id);
    this.#people.show(opened, this.#room.owner);
    this.#timeline.show(opened.entries, opened.room.first, joined && joined.read < opened.room.head ? joined.read : undefined);
    this.#showHead();
    this.#showFoot(first);
    if (seq) this.to(seq);
  }

  /** After an outage: who came and went meanwhile, and what it is about by now, was not told to us. What is here stays until the next one if that fails. */
  async #reread(): Promise<void> {
    const opened = await this.#chat.client.open(this.id, { limit: 1 }, { signal: this.#abort.signal }).catch(() => undefined);
    if (!opened || this.#abort.signal.aborted) return;
    this.#room = opened.room;
    this.#people.show(opened, opened.room.owner);
    this.#showHead();
  }

  #showProblem(caught: unknown): void {
    const error = asHubbubError(caught);
    const gone = error.code === "no_such_room";
    patch(this.#title, gone ? "No such room" : "…");
    // There are no details of it; of one that can't be read now there are, later, and their place is kept.
    if (gone) {
      title({ room: "No such room" });
      this.#showAside(false);
      this.#toggle.hidden = true;
    }
    put(this.#foot);
    patch(this.#timeline.element, h("div", { class: "empty", "data-key": "problem" },
      h("h2", {}, gone ? "There is no such room" : "The room can’t be read just now"),
      h("p", { class: "soft" }, gone ? "Perhaps a part of its address was lost." : asSaid(error)),
      gone
        ? h("a", { class: "quiet button", href: href({ at: "rooms" }) }, "See all rooms")
        : h("button", { type: "button", class: "quiet", onclick: (event: Event) => this.#again(event.currentTarget as Element) }, "Try again")));
  }

  /** Not the page anew: while the server is away there is none. The button stays, and says by its look that it was pressed. */
  #again(button: Element): void {
    if (button.hasAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    this.#chat.client.wake();
    void this.#open();
  }

  #showHead(): void {
    if (!this.#room) return;
    patch(this.#title, bdi(this.#room.name));
    title({ room: this.#room.name });
    this.#showUnder();
    this.#showDetails();
  }

  #showUnder(): void {
    if (!this.#room) return;
    const { topic, members } = this.#room;
    const online = this.#people.online;
    patch(this.#under, topic && [h("span", { class: "topic", dir: "auto" }, topic), h("span", { "aria-hidden": "true" }, " · ")],
      plural(members, "member"), online > 0 && `, ${online} online`);
  }

  #showWriting(): void {
    const names = this.#chat.writing(this.id).map(({ name }) => bdi(name));
    const [one, two] = names;
    patch(this.#writing,
      names.length === 1 && [one, " is writing…"],
      names.length === 2 && [one, " and ", two, " are writing…"],
      names.length > 2 && "Several people are writing…");
    this.#writing.classList.toggle("on", names.length > 0);
  }

  /** `first`: the room has just been opened, and what had the focus is gone. */
  #showFoot(first = false): void {
    if (!this.#room) return;
    if (this.#chat.rooms.has(this.id)) {
      this.#composer ??= new Composer(this.#chat, this.#room, (content) => void this.#send(content));
      if (this.#composer.element.parentElement !== this.#foot) put(this.#foot, this.#composer.element);
      this.#composer.fit();
      // Not away from where somebody looks for another room meanwhile.
      if (matchMedia("(pointer: fine)").matches && !(document.activeElement instanceof HTMLInputElement)) this.#composer.focus();
      return;
    }
    this.#composer = undefined;
    const lost = (first && document.activeElement === document.body) || this.#foot.querySelector("textarea") === document.activeElement;
    patch(this.#foot, h("div", { class: "join-bar", "data-key": "join-bar" },
      h("p", {}, "You are looking in from outside. Join to write, and to see what is said as it is said."),
      h("button", { type: "button", class: "primary", onclick: () => void this.#join() }, "Join room")));
    // There is nothing to write in: who has no mouse goes on from the room's name. Not from the button, for who is writing presses Enter.
    if (lost) this.#title.focus({ preventScroll: true });
  }

  async #send(content: Content): Promise<void> {
    this.#chat.outbox.add(this.id, content);
    await this.#timeline.toNewest();
  }

  async #join(): Promise<void> {
    try {
      const { seq } = await this.#chat.client.join(this.id);
      this.#chat.onJoined({ ...this.#room!, head: Math.max(seq, this.#room!.head) });
    } catch (error) {
      toast(asSaid(error));
    }
  }

  #leave(): void {
    dialog(`Leave ${this.#room!.name}?`, "Leave room", async () => {
      await this.#chat.client.leave(this.id);
      this.#chat.onLeft(this.id);
      this.#showAside(false);
      go({ at: "home" });
    }, h("p", { class: "soft" }, "You can come back whenever you like; what was said stays."));
  }

  #setTopic(): void {
    const topic = input("Topic", { name: "topic", value: this.#room!.topic });
    bounded(topic.input, 256);
    dialog("Topic of the room", "Save", async () => {
      await this.#chat.client.topic(this.id, topic.input.value.trim());
    }, topic.row);
  }

  async #copyLink(seq?: number): Promise<void> {
    const to = href({ at: "room", id: this.id, seq });
    try {
      await navigator.clipboard.writeText(new URL(to, location.href).href);
      toast(seq ? "Link to the message copied" : "Link to the room copied");
    } catch {
      // Not over plain http from elsewhere: then the address bar has it.
      history.replaceState(null, "", to);
      toast("The link is in the address bar");
    }
  }

  #onDrop(event: DragEvent): void {
    if (this.#composer) this.#composer.drop(event);
    else if (event.dataTransfer?.files.length) toast("Join the room to send a picture.");
  }

  #showAside(shown: boolean): void {
    this.#aside.hidden = !shown;
    this.#toggle.setAttribute("aria-expanded", String(shown));
  }

  #showDetails(): void {
    const { topic, owner } = this.#room!;
    const joined = this.#chat.rooms.has(this.id);
    const ours = owner === this.#chat.me.id;
    // Its parts are filled anew, each by itself: what is around them keeps the place it is scrolled to.
    keepingFocus(this.#aside, () => {
      patch(this.#topic,
        h("h3", {}, "Topic"), h("p", { dir: "auto" }, topic || h("span", { class: "soft" }, "None yet")),
        ours && joined && h("button", { type: "button", class: "link", "data-key": "topic", onclick: () => this.#setTopic() }, topic ? "Change topic" : "Set a topic"));
      patch(this.#actions,
        h("button", { type: "button", class: "quiet", "data-key": "copy", onclick: () => void this.#copyLink() }, icon("link"), "Copy link"),
        joined && h("button", { type: "button", class: "quiet danger", "data-key": "leave", onclick: () => this.#leave() }, icon("out"), "Leave room"));
    });
  }
}
