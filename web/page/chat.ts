import * as keep from "./keep.ts";
import { Outbox } from "./outbox.ts";
import { Emitter } from "../sdk/index.ts";
import type { Client, Entry, ListedRoom, Room, User, Welcome } from "../sdk/index.ts";

/** A room that we are a member of. */
export interface Joined {
  id: string;
  name: string;
  topic: string;
  head: number;
  /** Up to here we have seen it. */
  read: number;
  /** Entries after that which are no news: who comes and goes, and what we said ourselves. As far as we know of them. */
  quiet: Set<number>;
}

interface ChatEvents {
  /** The rooms that we are in, or what is unread in them, changed. */
  rooms: void;
  /** An entry of a room that we are in. */
  entry: Entry;
  /** The room's log must be read again. */
  reread: { room: string; why: "behind" | "reset" | "back" };
  /** Who writes in a room changed. */
  writing: string;
  /** A room was made by someone. */
  made: ListedRoom;
  /** We are a member from now on. */
  joined: string;
  /** We are no member any more. */
  left: string;
}

/** Somebody who writes has said so in the last so many milliseconds. */
const WRITING = 5_500;

/** So many of a room's entries are remembered as no news; beyond, the number of unread ones is too high. */
const QUIET_MAX = 1_000;
/** What came while we were away is looked through in so many rooms, where it is so little: a number as small as that is to be right. */
const LOOKED_INTO = { rooms: 20, entries: 20 };

/** What we know beside the room that is shown: who we are, where we are, what is unread. */
export class Chat extends Emitter<ChatEvents> {
  readonly client: Client;
  /** The access token of this session, which need not be the one that the browser keeps. */
  readonly token: string;
  readonly me: User;
  readonly outbox: Outbox;
  readonly rooms = new Map<string, Joined>();
  #kept: ReturnType<typeof keep.read>;
  #writing = new Map<string, Map<string, { user: User; timer: ReturnType<typeof setTimeout> }>>();
  #toKeep?: ReturnType<typeof setTimeout>;
  #asked = new Set<string>();

  constructor(client: Client, welcome: Welcome, token: string) {
    super();
    this.client = client;
    this.token = token;
    this.me = welcome.user;
    this.#kept = keep.read(this.me.id);
    this.#onWelcome(welcome);
    this.outbox = new Outbox(client, this.me.id);
    client.on("welcome", (again) => this.#onWelcome(again));
    client.on("entry", (entry) => this.#onEntry(entry));
    client.on("behind", ({ room, head }) => this.#reread(room, head, "behind"));
    client.on("reset", ({ room, head }) => this.#reread(room, head, "reset"));
    client.on("typing", ({ room, user, on }) => this.#onTyping(room, user, on));
    void this.#lookInto();
    client.on("room", (room) => this.emit("made", { ...room, members: 1 }));
  }

  get limits(): Welcome["limits"] { return this.client.welcome!.limits; }

  /** What others have said since we looked. */
  unread(room: Joined): number {
    return Math.max(0, room.head - room.read - room.quiet.size);
  }

  /** Seen up to here. */
  markRead(id: string, seq: number): void {
    const room = this.rooms.get(id);
    if (!room || seq <= room.read) return;
    this.#readTo(room, seq);
    this.#keepRead();
    this.emit("rooms", undefined);
  }

  /** Another tab keeps something: what was read there is read. */
  onStorage({ key, newValue }: StorageEvent): void {
    if (key !== this.#kept.key || newValue === null) return;
    const kept = keep.parsed<Record<string, number>>(newValue, {});
    for (const room of this.rooms.values()) this.#readTo(room, kept[room.id] ?? 0);
    this.emit("rooms", undefined);
  }

  /** We are in: made or joined it, or found that we are a member. */
  onJoined(room: Pick<Room, "id" | "name" | "topic" | "head">): void {
    const { id, name, topic, head } = room;
    const isNew = !this.rooms.has(id);
    this.rooms.set(id, { id, name, topic, head, read: this.rooms.get(id)?.read ?? head, quiet: this.rooms.get(id)?.quiet ?? new Set() });
    this.#keepRead();
    this.emit("rooms", undefined);
    if (isNew) this.emit("joined", id);
  }

  onLeft(id: string): void {
    if (!this.rooms.delete(id)) return;
    this.#keepExactly(id, undefined);
    this.emit("rooms", undefined);
    this.emit("left", id);
  }

  /** Who writes in a room now, without us. */
  writing(room: string): User[] {
    return [...(this.#writing.get(room)?.values() ?? [])].map(({ user }) => user);
  }

  #onWelcome(welcome: Welcome): void {
    const kept = keep.parsed<Record<string, number>>(this.#kept.get(), {});
    const before = new Map(this.rooms);
    this.rooms.clear();
    for (const { id, name, topic = before.get(id)?.topic ?? "", head } of welcome.rooms) {
      // A head that is lower than what was read is another log: what is kept of that one must not hide what is new in this one.
      if ((kept[id] ?? 0) > head) this.#keepExactly(id, head);
      const known = before.get(id)?.read;
      const read = Math.min(known === undefined ? kept[id] ?? head : Math.max(known, kept[id] ?? 0), head);
      this.rooms.set(id, { id, name, topic, head, read, quiet: new Set([...before.get(id)?.quiet ?? []].filter((seq) => seq > read && seq <= head)) });
    }
    for (const id of before.keys()) if (!this.rooms.has(id)) this.emit("left", id);
    // A room that this browser did not know is read up to now, also after a reload.
    this.#keepRead();
    this.emit("rooms", undefined);
  }

  #onEntry(entry: Entry): void {
    const room = this.rooms.get(entry.room);
    if (room) {
      room.head = Math.max(room.head, entry.seq);
      const ours = entry.user.id === this.me.id;
      if (entry.type !== "message" || ours) this.#noNews(room, entry.seq);
      if (entry.type === "topic") room.topic = entry.topic;
      this.emit("rooms", undefined);
    } else void this.#askFor(entry.room);
    this.#onTyping(entry.room, entry.user, false);
    this.outbox.onEntry(entry);
    this.emit("entry", entry);
    if (entry.type === "leave" && entry.user.id === this.me.id) this.onLeft(entry.room);
  }

  #readTo(room: Joined, seq: number): void {
    room.read = Math.max(room.read, seq);
    for (const seq of room.quiet) if (seq <= room.read) room.quiet.delete(seq);
  }

  #noNews(room: Joined, seq: number): void {
    if (seq <= room.read) return;
    if (room.quiet.size < QUIET_MAX) room.quiet.add(seq);
    if (this.unread(room) > 0) return;
    this.#readTo(room, room.head);
    this.#keepRead();
  }

  /** What came while this page was not there: what of it is no news. */
  async #lookInto(): Promise<void> {
    const few = [...this.rooms.values()].filter((room) => this.unread(room) > 0 && this.unread(room) <= LOOKED_INTO.entries);
    for (const { id, read, head } of few.slice(0, LOOKED_INTO.rooms)) {
      const page = await this.client.history(id, { after: read, limit: head - read }).catch(() => undefined);
      const room = this.rooms.get(id);
      if (!page || !room) continue;
      for (const entry of page.entries) if (entry.type !== "message" || entry.user.id === this.me.id) this.#noNews(room, entry.seq);
      this.emit("rooms", undefined);
    }
  }

  /** We joined or made it elsewhere: in another tab, on another device. Here only what is said in it arrives. */
  async #askFor(id: string): Promise<void> {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    try {
      const { room } = await this.client.open(id, { limit: 1 });
      // Meanwhile the last entry may have been that we left.
      if (id in this.client.positions && !this.rooms.has(id)) this.onJoined(room);
    } catch {
      // With the next entry it is asked for again.
    } finally {
      this.#asked.delete(id);
    }
  }

  #reread(id: string, head: number, why: "behind" | "reset"): void {
    const room = this.rooms.get(id);
    if (room) {
      room.head = head;
      room.read = Math.min(room.read, head);
      if (why === "reset") {
        room.quiet.clear();
        this.#keepExactly(id, room.read);
      }
    }
    this.outbox.forgetSent(id);
    this.emit("rooms", undefined);
    this.emit("reread", { room: id, why });
  }

  #onTyping(room: string, user: User, on: boolean): void {
    const writers = this.#writing.get(room) ?? new Map();
    this.#writing.set(room, writers);
    const before = writers.get(user.id);
    if (!on && !before) return;
    clearTimeout(before?.timer);
    writers.delete(user.id);
    if (on) writers.set(user.id, { user, timer: setTimeout(() => this.#onTyping(room, user, false), WRITING) });
    if (writers.size === 0) this.#writing.delete(room);
    this.emit("writing", room);
  }

  /** Not at each entry of a busy room. */
  #keepRead(): void {
    this.#toKeep ??= setTimeout(() => {
      this.#toKeep = undefined;
      // Another tab may have read further, or know rooms that we don't.
      const kept = keep.parsed<Record<string, number>>(this.#kept.get(), {});
      for (const [id, { read }] of this.rooms) kept[id] = Math.max(kept[id] ?? 0, read);
      this.#kept.set(JSON.stringify(kept));
    }, 300);
  }

  /** What is kept of a room that is no longer ours, or has another log. */
  #keepExactly(id: string, read: number | undefined): void {
    const kept = keep.parsed<Record<string, number>>(this.#kept.get(), {});
    this.#kept.set(JSON.stringify({ ...kept, [id]: read }));
  }
}
