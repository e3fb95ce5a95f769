import { asSaid } from "./words.ts";
import * as keep from "./keep.ts";
import { Emitter } from "../sdk/index.ts";
import { newKey, type Client, type Content, type Entry } from "../sdk/index.ts";

/** A message of ours that the room may not have yet. */
export interface Draft {
  key: string;
  room: string;
  content: Content;
  /** What we had seen of the room when it was first sent: kept, so that a repeat is found exactly. */
  after?: number;
  at: number;
  state: "waiting" | "sent" | "failed";
  /** Once it is kept. */
  seq?: number;
  /** Why it failed. */
  why?: string;
  /** Its entry is there already, though its answer is not. */
  seen?: boolean;
  /** The browser has no room for it: a reload would lose it. */
  unkept?: boolean;
}

interface OutboxEvents {
  /** What waits in this room is not what it was. */
  change: string;
  /** Something to tell the writer alone, about a command. */
  notice: { room: string; said: string; text: string; bad: boolean };
}

/** What is being sent: shown at once, kept over a reload, sent until it is answered, and never doubled. */
export class Outbox extends Emitter<OutboxEvents> {
  #client: Client;
  #user: string;
  #drafts: Draft[];
  #kept: ReturnType<typeof keep.outbox>;
  #going = new Map<string, AbortController>();

  constructor(client: Client, user: string) {
    super();
    this.#client = client;
    this.#user = user;
    this.#kept = keep.outbox(user);
    this.#drafts = keep.parsed<Draft[]>(this.#kept.get(), []).filter((draft) => this.#whole(draft));
    for (const draft of this.#drafts) if (draft.state === "waiting") this.#go(draft);
  }

  of(room: string): Draft[] {
    return this.#drafts.filter((draft) => draft.room === room && !draft.seen);
  }

  /** How many messages wait, in all rooms. */
  get waiting(): number {
    return this.#drafts.filter((draft) => draft.state === "waiting").length;
  }

  add(room: string, content: Content): void {
    const after = this.#client.positions[room];
    const draft: Draft = { key: newKey(), room, content, after, at: Date.now(), state: "waiting" };
    this.#drafts.push(draft);
    if ("image" in content) this.#picture(draft).set(content.image);
    this.#go(draft);
    this.#changed(room);
  }

  /** Once more, with the same key. */
  retry(draft: Draft): void {
    Object.assign(draft, { state: "waiting", why: undefined });
    this.#go(draft);
    this.#changed(draft.room);
  }

  discard(draft: Draft): void {
    this.#going.get(draft.key)?.abort();
    this.#remove(draft);
  }

  /** An entry came: if it is one of ours, it waits no more. */
  onEntry(entry: Entry): void {
    for (const draft of this.#drafts.filter((draft) => draft.room === entry.room)) {
      const ours = entry.type === "message" && entry.key === draft.key;
      if (ours || (draft.seq !== undefined && entry.seq >= draft.seq)) this.#remove(draft);
    }
    // After a reconnect it comes without its key, before the answer to the repeat does.
    if (entry.type !== "message" || entry.key || entry.user.id !== this.#client.welcome?.user.id) return;
    const same = this.#drafts.find(({ room, content, state, seen }) => {
      const said = "text" in content ? content.text === entry.text : content.image === entry.image;
      return room === entry.room && state === "waiting" && !seen && said;
    });
    if (same) {
      same.seen = true;
      this.#changed(same.room);
    }
  }

  /** The room was read anew, or is about to be: what is kept is in there. */
  forgetSent(room: string): void {
    for (const draft of this.#drafts.filter((draft) => draft.room === room && draft.state === "sent")) this.#remove(draft);
  }

  async #go(draft: Draft): Promise<void> {
    const { room, content, key, after } = draft;
    const abort = new AbortController();
    this.#going.set(key, abort);
    const command = "text" in content && content.text.startsWith("/") ? content.text : undefined;
    try {
      const sent = await this.#client.send(room, content, { key, after, signal: abort.signal });
      if (sent.seq === undefined || (this.#client.positions[room] ?? Infinity) >= sent.seq) this.#remove(draft);
      else Object.assign(draft, { state: "sent", seq: sent.seq });
      if (sent.command) this.emit("notice", { room, said: command ?? "", text: sent.notice ?? "The bot has it. Its answer comes into the room.", bad: false });
    } catch (error) {
      if (abort.signal.aborted) return;
      // The token has ended, or the page is being left: it goes out when somebody is logged in again.
      const { code } = error as { code?: string };
      if (code === "unauthorized" || code === "closed") return;
      if (command) {
        this.#remove(draft);
        this.emit("notice", { room, said: command, text: asSaid(error), bad: true });
      } else Object.assign(draft, { state: "failed", why: asSaid(error), seen: false });
    } finally {
      this.#going.delete(key);
      this.#changed(room);
    }
  }

  #remove(draft: Draft): void {
    this.#drafts = this.#drafts.filter((other) => other !== draft);
    if ("image" in draft.content) this.#picture(draft).set(undefined);
    this.#changed(draft.room);
  }

  #changed(room: string): void {
    const unsent = this.#drafts.filter((draft) => draft.state !== "sent");
    const bare = unsent.map(({ unkept, ...draft }) => "image" in draft.content ? { ...draft, content: {} } : draft);
    const kept = this.#kept.set(bare.length > 0 ? JSON.stringify(bare) : undefined);
    // Where one finds no room, those behind it are not tried: each is long.
    let roomLeft = true;
    for (const draft of this.#drafts) {
      if ("text" in draft.content) draft.unkept = !kept;
      else if (draft.state === "sent") this.#picture(draft).set(undefined);
      else {
        const lasts = this.#picture(draft).lasts(roomLeft);
        roomLeft &&= lasts;
        draft.unkept = !lasts;
      }
    }
    this.emit("change", room);
  }

  #picture(draft: Draft) {
    return keep.picture(this.#user, draft.key);
  }

  /** Brings a kept message and its picture together; without its picture there is nothing to send. */
  #whole(draft: Draft): boolean {
    if (!("text" in draft.content)) {
      const image = draft.content.image ?? this.#picture(draft).get();
      if (!image) return false;
      if (draft.content.image) this.#picture(draft).set(image);
      draft.content = { image };
    }
    return true;
  }
}
