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
    client.on("room", (room) => this.emit("made", { ...room, members: 1 }));
  }

  get limits(): Welcome["limits"] { return this.client.welcome!.limits; }

  /** What others have said since we looked. */
  unread(room: Joined): number {
    return Math.max(0, room.head - room.read);
  }

  /** Seen up to here. */
  markRead(id: string, seq: number): void {
    const room = this.rooms.get(id);
    if (!room || seq <= room.read) return;
    room.read = seq;
    this.#keepRead();
    this.emit("rooms", undefined);
  }

  /** We are in: made or joined it, or found that we are a member. */
  onJoined(room: Pick<Room, "id" | "name" | "topic" | "head">): void {
    const { id, name, topic, head } = room;
    const isNew = !this.rooms.has(id);
    this.rooms.set(id, { id, name, topic, head, read: this.rooms.get(id)?.read ?? head });
    this.#keepRead();
    this.emit("rooms", undefined);
    if (isNew) this.emit("joined", id);
  }

  onLeft(id: string): void {
    if (!this.rooms.delete(id)) return;
    this.#keepRead();
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
      // A head that is lower than what was read is another log.
      const read = Math.min(before.get(id)?.read ?? kept[id] ?? head, head);
      this.rooms.set(id, { id, name, topic, head, read });
    }
    for (const id of before.keys()) if (!this.rooms.has(id)) this.emit("left", id);
    this.emit("rooms", undefined);
  }

  #onEntry(entry: Entry): void {
    const room = this.rooms.get(entry.room);
    if (room) {
      const caughtUp = room.read >= room.head;
      room.head = Math.max(room.head, entry.seq);
      const ours = entry.user.id === this.me.id;
      // Who comes and goes is no news, and neither is what we said ourselves.
      if (caughtUp && (entry.type !== "message" || ours)) {
        room.read = room.head;
        this.#keepRead();
      }
      if (entry.type === "topic") room.topic = entry.topic;
      this.emit("rooms", undefined);
    } else void this.#askFor(entry.room);
    this.#onTyping(entry.room, entry.user, false);
    this.outbox.onEntry(entry);
    this.emit("entry", entry);
    if (entry.type === "leave" && entry.user.id === this.me.id) this.onLeft(entry.room);
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
      this.#kept.set(JSON.stringify(Object.fromEntries([...this.rooms].map(([id, { read }]) => [id, read]))));
    }, 300);
  }
}
