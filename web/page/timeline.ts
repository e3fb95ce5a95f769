import { h, icon, keepingFocus, put } from "./dom.ts";
import { draftRow, entryRow, inWords, noticeBox } from "./entry-row.ts";
import { dayOf, plural } from "./format.ts";
import { LogWindow } from "./log-window.ts";
import { say, toast } from "./notices.ts";
import { asSaid } from "./words.ts";
import type { Chat } from "./chat.ts";
import type { Entry, Erase } from "../sdk/index.ts";

/** Entries of one read. */
const PAGE = 100;
/** More is read when the reader is so near to an end of what is there, in heights of the view. */
const NEAR = 1.5;
/** Pixels from the foot that still count as being there. */
const AT_FOOT = 48;

/**
 * The log of the room that is shown, as far as the reader looks: entries in [`LogWindow`], a row each, no others.
 *
 * Whatever is put in or taken out, what the reader looks at stays where it is; unless they are at the foot, where the newest stays in view.
 */
export class Timeline {
  readonly element: HTMLElement;
  #chat: Chat;
  #room: string;
  #window = new LogWindow();
  #rows = new Map<number, HTMLLIElement>();
  #list = h("ol", { class: "rows", "aria-label": "Messages" });
  /** Words for the reader alone, each in the row of the entry that was the last one when they came. */
  #notices = new Map<number, HTMLElement[]>();
  #drafts = h("ol", { class: "rows drafts", "aria-label": "Your messages that are being sent" });
  /** An element of its own: what is shown in its stead does not count as having moved. */
  #shape = h("div", { "aria-hidden": "true" });
  #top = h("div", { class: "edge" });
  #inner = h("div", { class: "timeline-inner" }, this.#top, this.#list, this.#drafts);
  #scroll = h("div", { class: "scroll timeline", tabIndex: 0, role: "region", "aria-label": "Conversation", "aria-keyshortcuts": "ArrowUp ArrowDown Home End" }, this.#inner);
  #jumpWords = h("span", {});
  #jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => void this.toNewest() }, this.#jumpWords, icon("down"));
  #abort = new AbortController();
  #stops: (() => void)[] = [];
  #reading = false;
  /** While the log's end is read; and what comes meanwhile, or a busy room would be read for ever. */
  #newest?: Promise<void>;
  #meanwhile: Entry[] = [];
  #followsFoot = true;
  #newAfter?: number;
  /** Messages that came since the reader was last at the foot. */
  #missed = 0;
  #resize: ResizeObserver;
  #copyLink: (seq: number) => void;
  #nameOf: (id: string) => string | undefined;
  #wide = 0;
  /** The row that is seen first, and how much of it, in pixels. */
  #reader?: { seq: number; left: number };
  /** They asked for the newest, which could not be read yet. */
  #wanted = false;
  #today = dayOf(Date.now());
  #midnight?: ReturnType<typeof setTimeout>;
  /** Something could not be read, and it is said. */
  #problem = false;

  constructor(chat: Chat, room: string, copyLink: (seq: number) => void, nameOf: (id: string) => string | undefined) {
    this.#chat = chat;
    this.#room = room;
    this.#copyLink = copyLink;
    this.#nameOf = nameOf;
    this.element = h("div", { class: "timeline-frame" }, this.#scroll, this.#jump);
    this.#scroll.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#scroll.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Home" || event.key === "End") {
        // What has the focus may be shown no more.
        this.#scroll.focus({ preventScroll: true });
        void (event.key === "Home" ? this.toStart() : this.toNewest());
      } else if ((event.key !== "ArrowUp" && event.key !== "ArrowDown") || !this.#step(event.key === "ArrowUp" ? -1 : 1)) return;
      event.preventDefault();
    });
    this.#resize = new ResizeObserver(() => this.#onResize());
    this.#resize.observe(this.#scroll);
    this.#resize.observe(this.#inner);
    const onSeen = () => {
      this.#newDay();
      this.#markRead();
    };
    this.#newDay();
    document.addEventListener("visibilitychange", onSeen);
    this.#stops.push(
      () => document.removeEventListener("visibilitychange", onSeen),
      chat.on("entry", (entry) => { if (entry.room === room) this.#onEntry(entry); }),
      chat.on("reread", (event) => { if (event.room === room) void this.#onReread(event.why); }),
      chat.outbox.on("change", (changed) => { if (changed === room) this.#showDrafts(); }),
      chat.client.on("welcome", () => this.#onWelcome()),
      chat.outbox.on("notice", (notice) => {
        if (notice.room !== room) return;
        this.#note(noticeBox(notice.text, notice.said, notice.bad));
        void this.toNewest();
      }),
    );
  }

  close(): void {
    this.#abort.abort();
    this.#resize.disconnect();
    clearTimeout(this.#midnight);
    for (const stop of this.#stops) stop();
  }

  /** The newest entries, from an answer to `open`. */
  show(entries: Entry[], first: number | undefined, newAfter?: number): void {
    // That the room could not be read may be said in their stead.
    put(this.element, this.#scroll, this.#jump);
    this.#newAfter = newAfter;
    this.#window.startsAt(first);
    this.#window.show(entries, true);
    this.#redraw();
    this.#showDrafts();
    this.#toFoot();
  }

  /** While the first answer is on its way: the shape of what will be there. */
  wait(): void {
    this.#list.hidden = true;
    this.#inner.append(this.#shape);
    put(this.#shape, Array.from({ length: 6 }, () => h("div", { class: "row skeleton" }, h("span", {}), h("span", {}), h("span", {}))));
  }

  /** An entry, in the middle of what is around it. */
  async to(seq: number): Promise<void> {
    if (!this.#rows.has(seq)) {
      const page = await this.#read({ after: Math.max(0, seq - PAGE / 2) });
      if (!page) return;
      if ((page.entries.at(-1)?.seq ?? 0) < seq) {
        toast("There is no such message yet. These are the newest.");
        return this.toNewest();
      }
      this.#followsFoot = false;
      this.#showPart(page.entries, !page.more);
    }
    const row = this.#rows.get(seq);
    if (!row) {
      toast("That message is not kept any more. Here begins what is.");
      return this.toStart();
    }
    this.#followsFoot = false;
    row.scrollIntoView({ block: "center" });
    row.classList.add("found");
    row.addEventListener("animationend", () => row.classList.remove("found"), { once: true });
    this.#showJump();
    this.#onScroll();
  }

  /** By keys from message to message, at first to the last one in view; says whether there is one. */
  #step(by: 1 | -1): boolean {
    const links = [...this.#list.querySelectorAll<HTMLElement>("a.permalink")];
    const row = document.activeElement?.closest(".row");
    const here = links.findIndex((link) => row?.contains(link));
    const { bottom } = this.#scroll.getBoundingClientRect();
    const next = links[here < 0 ? links.filter((link) => link.getBoundingClientRect().top < bottom).length - 1 : here + by];
    next?.focus();
    return !!next;
  }

  /** The log's first entry. */
  async toStart(): Promise<void> {
    if (!this.#window.whole) {
      const page = await this.#read({ after: 0 });
      if (!page) return;
      this.#showPart(page.entries, !page.more);
    }
    this.#followsFoot = false;
    this.#scroll.scrollTop = 0;
    this.#showJump();
    // All of it may be in view: then they are at its foot as well.
    this.#onScroll();
  }

  /** The log's last entry, and what comes. */
  async toNewest(): Promise<void> {
    if (this.#window.live) return this.#toFoot();
    this.#wanted = true;
    // What they have just written is seen at once, whenever the newest can be read.
    if (!this.#drafts.hidden) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    await (this.#newest ??= this.#readNewest());
  }

  /** What could not be read without a connection is read now. */
  #onWelcome(): void {
    if (this.#wanted) void this.toNewest();
    else if (this.#problem) {
      this.#showTop();
      this.#onScroll();
    }
  }

  /** Once, however many ask for it, but again if an answer does not reach what came since: nothing may be missing in between. */
  async #readNewest(): Promise<void> {
    while (!this.#window.live) {
      const page = await this.#read({ before: Number.MAX_SAFE_INTEGER });
      if (!page) break;
      this.#showPart(page.entries, true, this.#meanwhile);
      this.#toFoot();
    }
    if (this.#window.live) this.#wanted = false;
    this.#newest = undefined;
    this.#meanwhile = [];
  }

  /** Another part of the log, and what came while it was read. It may go to the log's end, unless it is older than what came. */
  #showPart(entries: Entry[], toItsEnd: boolean, meanwhile: Entry[] = []): void {
    this.#window.show(entries, false);
    for (const entry of meanwhile) if (entry.type === "erase") this.#window.obey(entry);
    this.#window.after(meanwhile);
    this.#window.live = toItsEnd && this.#reachesHead;
    this.#redraw();
  }

  get #reachesHead(): boolean {
    return this.#window.last >= (this.#chat.rooms.get(this.#room)?.head ?? 0);
  }

  #onEntry(entry: Entry): void {
    const foot = this.#followsFoot;
    if (this.#newest) this.#meanwhile.push(entry);
    if (entry.type === "message" && entry.user.id !== this.#chat.me.id) say(inWords(entry));
    if (!foot && entry.type === "message" && entry.user.id !== this.#chat.me.id) this.#missed += 1;
    if (this.#window.live && this.#window.last > 0 && entry.seq > this.#window.last + 1) this.#window.live = false;
    // What somebody reads up there is not to go for it: it is read when they come down.
    if (this.#window.live && !foot && !this.#window.fits(entry)) this.#window.live = false;
    if (entry.type === "erase" && !this.#window.live) this.#hold(() => this.#obey(entry));
    if (entry.type === "retention") {
      this.#window.startsAt(entry.first);
      this.#showTop();
    }
    if (this.#window.live) this.#hold(() => this.#append([entry]));
    else if (foot) void this.toNewest();
    if (foot && this.#window.live) this.#toFoot();
    this.#showJump();
  }

  async #onReread(why: string): Promise<void> {
    this.#window.live = false;
    // It does not go on from there, and after a reset it is of another log.
    this.#meanwhile = [];
    if (why === "reset") {
      this.#newAfter = undefined;
      this.#notices.clear();
      this.#followsFoot = true;
    }
    if (this.#followsFoot) await this.toNewest();
    else this.#onScroll();
    this.#showJump();
  }

  /** What is erased is shown no more, wherever the reader is in the log. */
  #obey(order: Erase): void {
    for (const at of this.#window.obey(order)) this.#again(this.#window.entries[at]!, this.#window.entries[at - 1]);
  }

  #append(newer: Entry[]): void {
    let before = this.#window.entries.at(-1);
    const { added, gone } = this.#window.after(newer);
    for (const entry of added) {
      this.#list.append(this.#row(entry, before));
      before = entry;
    }
    this.#drop(gone, "first");
    if (gone > 0) this.#showTop();
    // Also one that was read, and never sent to us: what it means is perhaps shown above.
    for (const entry of added) if (entry.type === "erase") this.#obey(entry);
  }

  #prepend(older: Entry[]): void {
    const known = this.#window.entries[0];
    const gone = this.#window.before(older);
    const fragment = document.createDocumentFragment();
    let before: Entry | undefined;
    for (const entry of this.#window.entries) {
      if (known && entry.seq >= known.seq) break;
      fragment.append(this.#row(entry, before));
      before = entry;
    }
    this.#list.prepend(fragment);
    // The one that was first has something before it now.
    if (known && before) this.#again(known, before);
    this.#drop(gone, "last");
  }

  #row(entry: Entry, before: Entry | undefined): HTMLLIElement {
    const row = entryRow(entry, before, {
      me: this.#chat.me, newAfter: this.#newAfter, copyLink: this.#copyLink, apart: this.#notices.has(before?.seq ?? 0),
      // Who is no member any more may have said something, or have come while we look.
      nameOf: (id) => this.#nameOf(id) ?? this.#window.entries.find(({ user }) => user.id === id && user.name !== id)?.user.name,
    });
    row.append(...this.#notices.get(entry.seq) ?? []);
    this.#rows.set(entry.seq, row);
    return row;
  }

  #note(notice: HTMLElement): void {
    const last = this.#chat.rooms.get(this.#room)?.head ?? this.#window.last;
    this.#notices.set(last, [...this.#notices.get(last) ?? [], notice]);
    // Where that row is not shown now, it comes with it.
    this.#rows.get(last)?.append(notice);
  }

  #again(entry: Entry, before: Entry | undefined): void {
    const old = this.#rows.get(entry.seq);
    if (old) keepingFocus(old, () => old.replaceWith(this.#row(entry, before)));
  }

  #drop(count: number, end: "first" | "last"): void {
    for (; count > 0; count -= 1) {
      const row = end === "first" ? this.#list.firstElementChild : this.#list.lastElementChild;
      if (!row) return;
      this.#rows.delete(Number((row as HTMLElement).dataset["seq"]));
      if (row.contains(document.activeElement)) this.#scroll.focus({ preventScroll: true });
      row.remove();
      if (end === "first" && count === 1 && this.#window.entries[0]) this.#again(this.#window.entries[0], undefined);
    }
  }

  #redraw(): void {
    this.#shape.remove();
    this.#list.hidden = false;
    this.#rows.clear();
    let before: Entry | undefined;
    put(this.#list, this.#window.entries.map((entry) => {
      const row = this.#row(entry, before);
      before = entry;
      return row;
    }));
    this.#showTop();
  }

  /** What was said today was said yesterday from midnight on; a browser that slept then hears of it when it is looked at. */
  #newDay(): void {
    const today = dayOf(Date.now());
    if (today !== this.#today && this.#window.last > 0) {
      keepingFocus(this.#list, () => this.#hold(() => this.#redraw()));
      if (this.#followsFoot) this.#toFoot();
    }
    this.#today = today;
    clearTimeout(this.#midnight);
    this.#midnight = setTimeout(() => this.#newDay(), new Date().setHours(24, 0, 0, 0) - Date.now());
  }

  #showDrafts(): void {
    const drafts = this.#chat.outbox.of(this.#room);
    let before: Parameters<typeof draftRow>[1] = this.#notices.has(this.#window.last) ? undefined : this.#window.entries.at(-1);
    keepingFocus(this.#drafts, () => put(this.#drafts, drafts.map((draft) => {
      const row = draftRow(draft, before, this.#chat.me, () => this.#chat.outbox.retry(draft), () => this.#chat.outbox.discard(draft));
      before = draft;
      return row;
    })));
    this.#drafts.hidden = drafts.length === 0;
    if (this.#followsFoot) this.#toFoot();
  }

  #showTop(problem?: string): void {
    this.#problem = !!problem;
    if (problem) put(this.#top, `${problem} `, h("button", { type: "button", class: "link", onclick: () => this.#onScroll() }, "Try again"));
    else put(this.#top, this.#window.whole ? (this.#window.last > 0 ? this.#beginning() : "") : "Reading what came before…");
  }

  #beginning(): string {
    return this.#window.begins > 1 ? "What came before is not kept." : "This is where it began.";
  }

  /** Changes rows and keeps what is looked at where it is. */
  #hold(change: () => void): void {
    const top = this.#scroll.getBoundingClientRect().top;
    // Whichever row is looked at first; it may be drawn anew, so it goes by its seq.
    const kept = this.#firstSeen(top);
    const was = kept === undefined ? 0 : this.#rows.get(kept)!.getBoundingClientRect().bottom;
    change();
    const row = kept === undefined ? undefined : this.#rows.get(kept);
    if (row) this.#scroll.scrollTop += row.getBoundingClientRect().bottom - was;
  }

  /** By bisection: rows stand in the order of the log. */
  #firstSeen(top: number): number | undefined {
    const { entries } = this.#window;
    let [low, high] = [0, entries.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      const row = this.#rows.get(entries[middle]!.seq);
      if (row && row.getBoundingClientRect().bottom <= top) low = middle + 1;
      else high = middle;
    }
    return entries[low]?.seq;
  }

  async #read(page: { before: number } | { after: number }) {
    this.#reading = true;
    try {
      const found = await this.#chat.client.history(this.#room, { ...page, limit: PAGE }, { signal: this.#abort.signal });
      // The room may have been left while the answer was on its way: then nobody looks at it.
      this.#abort.signal.throwIfAborted();
      this.#window.startsAt(found.first);
      return found;
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#showTop(asSaid(error));
      return undefined;
    } finally {
      this.#reading = false;
    }
  }

  #onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    const below = scrollHeight - scrollTop - clientHeight;
    const before = this.#followsFoot;
    this.#followsFoot = this.#window.live && below <= AT_FOOT;
    // They have gone on reading elsewhere.
    if (below > AT_FOOT) this.#wanted = false;
    // At another width it stands elsewhere until `#onResize` has put it back.
    if (this.#scroll.clientWidth === this.#wide) this.#remember();
    if (this.#followsFoot) this.#markRead();
    if (before !== this.#followsFoot) this.#showJump();
    if (this.#reading || this.#window.last === 0) return;
    if (scrollTop < clientHeight * NEAR && !this.#window.whole) void this.#older();
    else if (below < clientHeight * NEAR && !this.#window.live) void this.#newer();
  }

  async #older(): Promise<void> {
    this.#window.awaits(PAGE);
    const page = await this.#read({ before: this.#window.first });
    if (!page) return;
    this.#hold(() => {
      this.#prepend(page.entries);
      this.#showTop();
    });
    this.#onScroll();
  }

  async #newer(): Promise<void> {
    const page = await this.#read({ after: this.#window.last });
    if (!page) return;
    if (this.#window.lost) {
      this.#window.show(page.entries, false);
      this.#redraw();
    } else this.#hold(() => this.#append(page.entries));
    // What came while it was read comes with the next page.
    if (!page.more && this.#reachesHead) this.#window.live = true;
    this.#onScroll();
  }

  #onResize(): void {
    // Another width breaks lines elsewhere; at the foot the newest stays in view, elsewhere what is read first.
    const turned = this.#scroll.clientWidth !== this.#wide;
    this.#wide = this.#scroll.clientWidth;
    if (this.#followsFoot) this.#toFoot();
    else if (turned) {
      const row = this.#reader && this.#rows.get(this.#reader.seq);
      if (row) {
        const { bottom, height } = row.getBoundingClientRect();
        this.#scroll.scrollTop += bottom - this.#scroll.getBoundingClientRect().top - Math.min(this.#reader!.left, height);
      }
      this.#onScroll();
    }
  }

  #remember(): void {
    const { top } = this.#scroll.getBoundingClientRect();
    const seq = this.#firstSeen(top);
    const row = seq === undefined ? undefined : this.#rows.get(seq);
    this.#reader = row && { seq: seq!, left: row.getBoundingClientRect().bottom - top };
  }

  #toFoot(): void {
    this.#followsFoot = this.#window.live;
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#markRead();
    this.#showJump();
  }

  #markRead(): void {
    if (!this.#followsFoot || document.hidden) return;
    this.#missed = 0;
    this.#chat.markRead(this.#room, this.#window.last);
  }

  #showJump(): void {
    // What is hidden has the focus no more, and who goes by keys is to be where they were led.
    if (this.#followsFoot && document.activeElement === this.#jump) this.#scroll.focus({ preventScroll: true });
    this.#jump.hidden = this.#followsFoot;
    put(this.#jumpWords, this.#missed > 0 ? `${plural(this.#missed, "new message")}` : "Newest");
  }
}
