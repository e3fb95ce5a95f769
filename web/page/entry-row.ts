import { avatar, bdi, h, icon, put } from "./dom.ts";
import { clock, day, dayOf, moment, plural } from "./format.ts";
import { pictureSize } from "./picture-size.ts";
import { isJumbo, pieces } from "./rich-text.ts";
import { href } from "./route.ts";
import type { Draft } from "./outbox.ts";
import type { Content, Entry, Message, Retained, User } from "../sdk/index.ts";

/** What one says within so long after the other belongs together. */
const GROUP = 5 * 60_000;
/** Largest picture in the log, CSS pixels. */
const PICTURE = { width: 360, height: 320 };

export interface RowContext {
  me: User;
  /** Everything after this seq is new to the reader. */
  newAfter?: number;
  copyLink: (seq: number) => void;
  /** Something stands between it and the entry before. */
  apart: boolean;
  /** The name of somebody whom the server knows by id alone, as it does after a kick and when messages are erased. */
  nameOf: (id: string) => string | undefined;
}

/** An entry as it stands below the one before it. */
export function entryRow(entry: Entry, before: Entry | undefined, context: RowContext): HTMLLIElement {
  const newDay = !before || dayOf(before.at) !== dayOf(entry.at);
  const firstNew = context.newAfter !== undefined && entry.seq > context.newAfter && (!before || before.seq <= context.newAfter);
  const marks = [
    newDay && h("p", { class: "day" }, h("span", {}, day(entry.at))),
    firstNew && h("p", { class: "new-mark" }, h("span", {}, "New")),
  ];
  if (entry.type !== "message") return h("li", { class: "row event", "data-seq": entry.seq }, marks, h("p", { class: "event-words" }, happened(entry, context)));
  const joins = !newDay && !firstNew && !context.apart && continues(before, entry);
  const row = h("li", { class: `row message${joins ? " joined-to" : ""}`, "data-seq": entry.seq }, marks);
  row.append(said(entry.user, contentOf(entry), joins, entry.kind === "bot", entry.user.id === context.me.id
    ? mine("check", "Sent")
    : undefined,
    h("a", {
      class: "permalink", href: href({ at: "room", id: entry.room, seq: entry.seq }), title: moment(entry.at),
      // No words in the row that are heard and not seen: they would be copied with the message.
      "aria-label": `Link to this message of ${clock(entry.at)}`,
      // `Timeline` leads there by arrow keys: a stop for each message would keep who goes by keys from what is behind them.
      tabIndex: -1, "data-key": `at-${entry.seq}`,
      onclick: (event: Event) => {
        event.preventDefault();
        context.copyLink(entry.seq);
      },
    }, h("time", { dateTime: new Date(entry.at).toISOString() }, clock(entry.at)))));
  if (entry.error) {
    row.classList.add("wrong");
    row.querySelector(".text")?.before(h("span", { class: "heard" }, "Error: "));
  }
  return row;
}

/** A message of ours that is not in the log yet. */
export function draftRow(draft: Draft, before: Entry | Draft | undefined, me: User, again: () => void, discard: () => void): HTMLLIElement {
  const joins = !!before && ("content" in before || continues(before, { ...draft, user: me }));
  const state = draft.state === "failed"
    ? h("span", { class: "mine failed" }, icon("alert"))
    : draft.state === "sent" ? mine("check", "Sent") : mine("clock", "Sending");
  const row = h("li", { class: `row message draft ${draft.state}${joins ? " joined-to" : ""}`, "data-key": draft.key });
  row.append(said(me, draft.content, joins, false, state, h("time", { class: "permalink", dateTime: new Date(draft.at).toISOString() }, clock(draft.at))));
  if (draft.state === "failed") {
    row.append(h("p", { class: "failure", role: "alert" }, `Not sent. ${draft.why ?? ""} `,
      h("button", { type: "button", class: "link", "data-key": `again-${draft.key}`, onclick: again }, "Try again"), " ",
      h("button", { type: "button", class: "link", "data-key": `discard-${draft.key}`, onclick: discard }, "Discard")));
  }
  if (draft.unkept && draft.state !== "sent") {
    row.append(h("p", { class: "failure" }, "The browser has no room left to keep this: it is lost when the page is closed or reloaded before it is sent."));
  }
  return row;
}

/** What became of a message of ours. */
function mine(drawing: "check" | "clock", word: string): HTMLElement {
  return h("span", { class: "mine", role: "img", title: word, "aria-label": word }, icon(drawing));
}

/** Words of the server or a bot for the reader alone. */
export function noticeBox(words: string, about: string, bad: boolean): HTMLElement {
  return h("div", { class: `notice${bad ? " bad" : ""}` },
    h("p", {}, h("code", { dir: "auto" }, about)), h("p", { class: "notice-words", dir: "auto" }, words), h("p", { class: "soft" }, "Only you see this."));
}

/** A message in one line, for who listens. */
export function inWords(entry: Message): string {
  if (entry.kind === "erased") return `${entry.user.name}: a message that was erased`;
  return `${entry.user.name}: ${entry.error ? "error: " : ""}${entry.image ? "sent a picture" : entry.text ?? ""}`;
}

function contentOf(entry: Message): Content | undefined {
  if (entry.kind === "erased") return undefined;
  return entry.image ? { image: entry.image } : { text: entry.text ?? "" };
}

function continues(before: Entry | undefined, entry: { user: User; at: number }): boolean {
  return before?.type === "message" && before.user.id === entry.user.id && before.user.name === entry.user.name
    && entry.at - before.at < GROUP && dayOf(before.at) === dayOf(entry.at);
}

function said(user: User, content: Content | undefined, joins: boolean, bot: boolean, state: Node | undefined, time: Node): HTMLElement {
  const body = h("div", { class: "said" });
  if (!joins) body.append(h("p", { class: "who" }, bdi(user.name), bot && h("span", { class: "badge" }, "Bot"), time));
  if (!content) body.append(h("p", { class: "text soft" }, "This message was erased."));
  else body.append("image" in content ? picture(content.image, user.name) : words(content.text));
  return h("div", { class: "message-grid" }, joins ? h("span", { class: "hung" }, time) : avatar(user), body, state);
}

function words(text: string): HTMLElement {
  const element = h("p", { class: `text${isJumbo(text) ? " jumbo" : ""}`, dir: "auto" });
  put(element, pieces(text).map((piece) => typeof piece === "string" ? piece
    : h("a", { href: piece.href, target: "_blank", rel: "noopener noreferrer nofollow ugc" }, piece.text)));
  return element;
}

function picture(url: string, from: string): HTMLElement {
  const unshown = () => h("p", { class: "text soft" }, "A picture that can’t be shown.");
  const size = pictureSize(url);
  if (!size) return unshown();
  const scale = Math.min(1, PICTURE.width / size.width, PICTURE.height / size.height);
  const [width, height] = [Math.max(1, Math.round(size.width * scale)), Math.max(1, Math.round(size.height * scale))];
  const image = h("img", { src: url, alt: `Picture from ${from}`, width, height, decoding: "async" });
  image.onerror = () => image.replaceWith(unshown());
  const open = () => {
    const box = h("dialog", { class: "lightbox", "aria-label": `Picture from ${from}`, onclick: () => box.close(), onclose: () => box.remove() },
      h("button", { type: "button", class: "picture-large", "aria-label": "Close" }, h("img", { src: url, alt: `Picture from ${from}` })));
    document.body.append(box);
    box.showModal();
  };
  return h("button", { type: "button", class: "picture", onclick: open, "aria-label": `Picture from ${from}: show it large` }, image);
}

function kept({ retention: { days, entries }, first }: Retained): string {
  const newest = `the newest ${entries?.toLocaleString()}`;
  const words = days ? `Messages are kept for ${plural(days, "day")}${entries ? `, and no more than ${newest}` : ""}.`
    : entries ? `Of the messages ${newest} are kept.` : "Messages are kept for good.";
  return first ? `${words} Older ones are gone.` : words;
}

function happened(entry: Exclude<Entry, Message>, { me, nameOf }: RowContext): (Node | string)[] {
  const { id, name } = entry.user;
  const who = () => bdi(name === id ? nameOf(id) ?? name : name);
  if (entry.type === "join") return [who(), " joined"];
  if (entry.type === "topic") return entry.topic ? [who(), " set the topic to ", h("q", { dir: "auto" }, entry.topic)] : [who(), " removed the topic"];
  if (entry.type === "erase") return [entry.by ? bdi(entry.by.name) : "An operator", " erased what ", who(), " had written"];
  if (entry.type === "retention") return [kept(entry)];
  if (entry.by && id === me.id) return [bdi(entry.by.name), " removed you from this room"];
  return entry.by ? [bdi(entry.by.name), " removed ", who()] : [who(), " left"];
}
