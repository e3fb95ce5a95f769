import { backoff } from "./backoff.ts";
import { Emitter } from "./emitter.ts";
import { asHubbubError, HubbubError } from "./errors.ts";
import { Positions } from "./positions.ts";
import type { Content, Entry, Kind, ListedRoom, Member, Opened, Page, Room, Sent, User, Welcome } from "./protocol.ts";

/** How the connection is. */
export type State =
  | { is: "connecting" }
  | { is: "online" }
  /** Lost; the next attempt is at `retryAt` (Unix milliseconds), or earlier by `wake`. */
  | { is: "waiting"; retryAt: number; reason: string }
  /** For good: `close()` was called or the token is not valid. `connect()` begins anew, from the same positions. */
  | { is: "closed"; code: "closed" | "unauthorized"; reason: string };

/** What a client tells its listeners. */
export interface Events {
  state: State;
  /** Let in: at the first connection, and after each reconnect. Entries that were missed follow. */
  welcome: Welcome;
  /** The next entry of a room: each once, ascending, without a gap that was not told as `behind`. */
  entry: Entry;
  /** Entries after `after` up to `head` were not sent: read them by `history`. */
  behind: { room: string; after: number; head: number };
  /** The log is another one: forget what was read of the room. */
  reset: { room: string; head: number };
  typing: { room: string; user: User; on: boolean };
  /** Who came or went; in large rooms how many are there. */
  presence: { room: string; user?: User; online?: boolean; count?: number };
  /** A room was made (after `watch(true)`). */
  room: { id: string; name: string; topic: string; owner: string };
  /** The server closes the connection; we come back by ourselves. */
  bye: { reason: string; reconnect_after_ms?: number };
  /** The token ends soon: call `setToken` with a fresh one. */
  token: HubbubError;
  /** A request that nobody waits for was refused. */
  refused: HubbubError;
}

export interface Options {
  /** Where the server is: `https://chat.example`, or its whole WebSocket address. */
  url: string | URL;
  /** Access token. It is sent in `hello`, never in the address. */
  token: string;
  /** Name and version, for the server's log. */
  client?: string;
  /** Positions of an earlier client: see `positions`. */
  resume?: Record<string, number>;
  /** The `log` of its welcome: of another one by now, the server tells `reset`. */
  log?: string;
  /** Milliseconds that a request may take in all, reconnects included: 15,000. Sends wait as long as it takes. */
  timeout?: number;
  /** Milliseconds before the next attempt to connect: see `backoff`, which is the default. */
  backoff?: (failures: number, atLeast: number) => number;
  /** Makes the socket where there is no global `WebSocket`. */
  socket?: (url: string) => WebSocket;
}

type Frame = Record<string, any> & { type: string };
type Waiting = { resolve: (frame: Frame) => void; reject: (error: unknown) => void };
/** Aborted, a request rejects at once with the signal's reason. One that was sent already may be carried out nevertheless. */
type Asking = { signal?: AbortSignal };

const HELLO = 0;
/** Rooms that one `hello` may resume. */
const RESUMED = 1_000;
/** No welcome for so long: another attempt. */
const GREETING = 10_000;
/** A connection that lived so long was healthy: the next failure is a first one. */
const HEALTHY = 5_000;
/** After so many refusals for now, in a row, the caller is told. */
const REFUSALS = 5;
/** After a sleep the server has so long to show that the connection still lives. */
const WAKING = 4_000;

/**
 * A connection that comes back by itself, resumes where it was, and sends each message once.
 *
 * Nothing is kept beyond the last seq of each room and what waits to be sent.
 */
export class Client extends Emitter<Events> {
  #options: Options;
  #url: string;
  #state: State = { is: "closed", code: "closed", reason: "not connected yet" };
  #socket?: WebSocket;
  #positions: Positions;
  #waiting = new Map<number, Waiting>();
  #lastRef = HELLO;
  /** The end of each room's line of sends. */
  #lines = new Map<string, Promise<unknown>>();
  #failures = 0;
  #since = 0;
  /** The token of the last hello. */
  #told?: string;
  /** What the server asked for in its `bye`. */
  #wait = 0;
  #heartbeat = 30_000;
  #heard = 0;
  /** When the silence was asked about; nothing was heard since. */
  #pinged?: number;
  #timer?: ReturnType<typeof setTimeout>;
  #watched = false;
  #welcome?: Welcome;
  /** Which log our positions are of. */
  #log?: string;
  #onWake = () => { if (globalThis.document?.visibilityState !== "hidden") this.wake(); };

  constructor(options: Options) {
    super();
    this.#options = options;
    const url = new URL(options.url);
    url.protocol = url.protocol.replace("http", "ws");
    if (url.pathname === "/") url.pathname = "/v1/ws";
    url.hash = "";
    this.#url = url.href;
    this.#positions = new Positions(options.resume);
    this.#log = options.log;
  }

  get state(): State { return this.#state; }

  /** The last `welcome`: who we are, and the limits. */
  get welcome(): Welcome | undefined { return this.#welcome; }

  /** The last seq seen of each room: `resume` of a client that goes on where this one was. */
  get positions(): Record<string, number> { return this.#positions.toResume(Infinity); }

  /** Connects, and stays connected. Resolves with the first `welcome`; rejects when it is closed before. */
  connect(): Promise<Welcome> {
    if (this.#state.is === "closed") {
      this.#failures = 0;
      globalThis.addEventListener?.("online", this.#onWake);
      globalThis.document?.addEventListener("visibilitychange", this.#onWake);
      this.#open();
    }
    return this.#online().then(() => this.#welcome!);
  }

  /** Ends the connection. What waits is rejected with `closed`. */
  close(): void {
    this.#end({ is: "closed", code: "closed", reason: "closed" });
  }

  /** A fresh token: told to the server at once, and used from now on. */
  setToken(token: string): void {
    this.#options = { ...this.#options, token };
    if (this.#state.is === "online") this.#hello(false);
  }

  /** Attempts to connect now, or makes sure that the connection still lives. Called when the browser comes back by itself. */
  wake(): void {
    if (this.#state.is === "waiting") this.#open();
    if (this.#state.is === "online") {
      this.#once({ type: "ping" }, WAKING).catch((error) => {
        if (asHubbubError(error).code === "timed_out") this.#lost("no sign of life");
      });
    }
  }

  /** The directory, the newest first. `limit`: 1 to 200. */
  rooms(page: { cursor?: string; limit?: number } = {}, asking?: Asking): Promise<{ rooms: ListedRoom[]; next?: string }> {
    return this.#ask({ type: "rooms", ...page }, asking);
  }

  /** Makes a room; with the same `key` it is the same room. Name: 1 to 80 characters, topic: up to 256. */
  async create(room: { name: string; topic?: string; key?: string }, asking?: Asking): Promise<Room> {
    const made = await this.#ask<{ room: Room }>({ type: "create", key: newKey(), ...room }, asking);
    this.#positions.onJoined(made.room.id, made.room.head);
    return made.room;
  }

  /** Becomes a member. Joining again gives the first `seq`. */
  async join(room: string, asking?: Asking): Promise<{ seq: number }> {
    const joined = await this.#ask<{ seq: number }>({ type: "join", room }, asking);
    this.#positions.onJoined(room, joined.seq);
    return joined;
  }

  /** Is a member no more. Without `seq` where it was done by a try whose answer was lost. */
  async leave(room: string, asking?: Asking): Promise<{ seq?: number }> {
    const left = await this.#ask<{ seq?: number }>({ type: "leave", room }, asking, this.#timeout, "not_member");
    this.#positions.onLeft(room);
    return left;
  }

  /** Removes a member: for the owner. Without `seq` where it was done by a try whose answer was lost. */
  kick(room: string, user: string, asking?: Asking): Promise<{ seq?: number }> {
    return this.#ask({ type: "kick", room, user }, asking, this.#timeout, "not_member");
  }

  /** Sets the topic: for the owner. Where an answer was lost it is set again, and the log has it twice. */
  topic(room: string, topic: string, asking?: Asking): Promise<{ seq: number }> {
    return this.#ask({ type: "topic", room, topic }, asking);
  }

  /** A room, its newest entries and first members. To a member, what follows live begins at `room.head` + 1. */
  open(room: string, page: { limit?: number } = {}, asking?: Asking): Promise<Opened> {
    return this.#ask({ type: "open", room, ...page }, asking);
  }

  /** A page of a room's log before or after a seq. `limit`: 1 to 1,000. */
  history(
    room: string,
    page: ({ before: number } | { after: number }) & { limit?: number; kinds?: Kind[] },
    asking?: Asking,
  ): Promise<Page> {
    return this.#ask({ type: "history", room, ...page }, asking);
  }

  members(room: string, page: { cursor?: string; limit?: number } = {}, asking?: Asking): Promise<{ members: Member[]; next?: string }> {
    return this.#ask({ type: "members", room, ...page }, asking);
  }

  /** Hears of every room that is made, also after a reconnect; or no more. */
  async watch(directory: boolean): Promise<void> {
    this.#watched = directory;
    if (this.#state.is === "online") await this.#ask({ type: "watch", directory });
  }

  /** Says that we write: best effort, and nothing while there is no connection. */
  typing(room: string, on = true): void {
    if (this.#state.is === "online") this.#write({ type: "typing", room, on });
  }

  /**
   * Sends a message: resolves when it is kept.
   *
   * It waits for the connection as long as that takes, and is sent again with the same key until it is answered, so it is in
   * the room once. What is sent to one room arrives there in the order of the calls. Rejects when the server refuses it, or
   * has been `unavailable` five times in a row: then it may be in the room nevertheless, and is to be sent again with the
   * same `key` and `after`. Aborted by `signal` it rejects at once, and may be in the room as well if it was under way.
   */
  send(room: string, content: Content, how: Asking & { key?: string; after?: number } = {}): Promise<Sent> {
    const { signal, key = newKey(), after = this.#positions.of(room) } = how;
    const before = this.#lines.get(room) ?? Promise.resolve();
    const body = { type: "send", room, ...content, key, after };
    const sent = waited(before, signal).then(() => this.#ask<Sent>(body, { signal }, Infinity));
    // Behind those before it also when it was aborted.
    const line: Promise<unknown> = Promise.allSettled([before, sent]).then(() => {
      if (this.#lines.get(room) === line) this.#lines.delete(room);
    });
    this.#lines.set(room, line);
    return sent;
  }

  /** One request on the connection there is now, sent once; for what has no method here. Rejects with `lost` without one. */
  request<T extends object = Frame>(body: { type: string; [field: string]: unknown }): Promise<T> {
    return this.#once(body, this.#timeout) as Promise<Frame & T>;
  }

  get #timeout(): number { return this.#options.timeout ?? 15_000; }

  /**
   * A request that may be sent again: after a reconnect, when the server is busy, when no answer came. By the code `done` the server then
   * says that an earlier try was carried out.
   */
  async #ask<T extends object>(body: Frame, { signal }: Asking = {}, timeout = this.#timeout, done?: string): Promise<T> {
    const until = Date.now() + timeout;
    let unknown = false;
    for (let refusals = 0; ;) {
      await this.#online(signal, until);
      try {
        return await this.#once(body, Math.min(this.#timeout, until - Date.now()), signal) as Frame & T;
      } catch (caught) {
        const error = asHubbubError(caught);
        signal?.throwIfAborted();
        if (unknown && error.code === done) return {} as T;
        unknown ||= error.code === "lost" || error.code === "timed_out" || error.code === "unavailable";
        if (error.code === "lost") continue;
        if (error.code === "unavailable" || error.code === "timed_out") refusals += 1;
        else if (error.code !== "rate_limited") throw error;
        const wait = error.retryAfter ?? backoff(refusals);
        if (refusals >= REFUSALS || Date.now() + wait >= until) throw error;
        await sleep(wait, signal);
      }
    }
  }

  /** Sends it once. What is answered after a timeout or an abort is passed over. */
  #once(body: Frame, timeout: number, signal?: AbortSignal): Promise<Frame> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#state.is !== "online") return reject(new HubbubError("lost", "there is no connection"));
      const ref = ++this.#lastRef;
      const onAbort = () => this.#settle(ref)?.reject(signal!.reason);
      const timer = setTimeout(() => this.#settle(ref)?.reject(new HubbubError("timed_out", "no answer in time")), timeout);
      const over = () => (clearTimeout(timer), signal?.removeEventListener("abort", onAbort));
      this.#waiting.set(ref, {
        resolve: (frame) => (over(), resolve(frame)),
        reject: (error) => (over(), reject(error)),
      });
      signal?.addEventListener("abort", onAbort);
      this.#write({ ...body, ref });
    });
  }

  #settle(ref: number): Waiting | undefined {
    const waiting = this.#waiting.get(ref);
    this.#waiting.delete(ref);
    return waiting;
  }

  /** Waits until there is a connection. */
  #online(signal?: AbortSignal, until = Infinity): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const look = (): boolean => {
        if (signal?.aborted) reject(signal.reason);
        else if (this.#state.is === "online") resolve();
        else if (this.#state.is === "closed") reject(new HubbubError(this.#state.code, this.#state.reason));
        else if (Date.now() >= until) reject(new HubbubError("timed_out", "there is no connection"));
        else return false;
        stop();
        clearTimeout(timer);
        signal?.removeEventListener("abort", look);
        return true;
      };
      const stop = this.on("state", look);
      if (look()) return;
      signal?.addEventListener("abort", look);
      if (until < Infinity) timer = setTimeout(look, until - Date.now() + 1);
    });
  }

  #write(body: object): void {
    this.#socket?.send(JSON.stringify(body));
  }

  #enter(state: State): void {
    this.#state = state;
    this.emit("state", state);
  }

  #open(): void {
    clearTimeout(this.#timer);
    const socket = this.#options.socket?.(this.#url) ?? new WebSocket(this.#url);
    this.#socket = socket;
    // What an earlier socket still says is not heard.
    const heard = <E>(listener: (event: E) => void) => (event: E) => { if (this.#socket === socket) listener(event); };
    socket.onopen = heard(() => this.#hello(true));
    socket.onmessage = heard((event: MessageEvent) => this.#onText(event.data));
    socket.onclose = heard(({ code, reason }: CloseEvent) => {
      if (code === 4401 && this.#told === this.#options.token) this.#end({ is: "closed", code: "unauthorized", reason: reason || "the token is not valid" });
      else this.#lost(reason || "the connection was lost");
    });
    this.#timer = setTimeout(() => this.#lost("no welcome in time"), GREETING);
    this.#enter({ is: "connecting" });
  }

  #hello(resume: boolean): void {
    const { token, client = "hubbub-client-js" } = this.#options;
    this.#told = token;
    const rooms = resume ? this.#positions.toResume(RESUMED) : undefined;
    this.#write({ type: "hello", ref: HELLO, token, client, rooms, log: rooms && this.#log });
  }

  #onText(text: string): void {
    this.#heard = Date.now();
    this.#pinged = undefined;
    let frame: Frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return this.#lost("the server said what can't be read");
    }
    const { type, ref, room } = frame;
    if (type === "ok" || type === "pong") this.#settle(ref)?.resolve(frame);
    else if (type === "error") this.#onError(frame);
    else if (type === "welcome") this.#onWelcome(frame as Frame & Welcome);
    else if (type === "typing" || type === "presence" || type === "room") this.emit(type, frame as never);
    else if (type === "behind" || type === "reset") {
      // What is missing begins where we are, should the server begin later.
      if (type === "behind") frame.after = Math.min(frame.after, this.#positions.of(room) ?? frame.after);
      this.#positions.moveTo(room, frame.head);
      this.emit(type, frame as never);
    } else if (type === "bye") {
      this.#wait = frame.reconnect_after_ms ?? 0;
      this.emit(type, frame as never);
    } else if (typeof room === "string" && typeof frame.seq === "number") this.#onEntry(frame as unknown as Entry);
  }

  #onError({ ref, code, message, field, retry_after_ms }: Frame): void {
    const error = new HubbubError(code, message, field, retry_after_ms);
    if (ref === HELLO && this.#state.is === "connecting") {
      // Another one was set while this one was on its way.
      if (this.#told !== this.#options.token) return this.#hello(true);
      this.#wait = retry_after_ms ?? 0;
      if (code === "unavailable" || code === "rate_limited") this.#lost(message);
      else this.#end({ is: "closed", code: "unauthorized", reason: message });
    } else if (ref === HELLO || (ref === undefined && code === "unauthorized")) this.emit("token", error);
    else if (ref === undefined) this.emit("refused", error);
    else this.#settle(ref)?.reject(error);
  }

  #onWelcome(welcome: Welcome): void {
    this.#welcome = welcome;
    this.#log = welcome.log ?? this.#log;
    if (this.#state.is === "online") return;
    clearTimeout(this.#timer);
    this.#since = Date.now();
    this.#wait = 0;
    this.#heartbeat = welcome.heartbeat * 1_000 || this.#heartbeat;
    this.#positions.onWelcome(welcome.rooms);
    this.#state = { is: "online" };
    this.#listen();
    if (this.#watched) this.#once({ type: "watch", directory: true }, this.#timeout).catch(() => {});
    if (this.#told !== this.#options.token) this.#hello(false);
    this.emit("welcome", welcome);
    this.emit("state", this.#state);
  }

  #onEntry(entry: Entry): void {
    const { room, seq } = entry;
    const before = this.#positions.of(room);
    const arrival = this.#positions.onEntry(room, seq);
    if (arrival === "repeat") return;
    if (arrival === "gap") this.emit("behind", { room, after: before!, head: seq - 1 });
    if (entry.type === "leave" && entry.user.id === this.#welcome?.user.id) this.#positions.onLeft(room);
    this.emit("entry", entry);
  }

  /**
   * Asks after a heartbeat of silence, gives up when that is not answered for another.
   *
   * Not by the silence alone: a browser lets the timers of a hidden page run once a minute, so that nobody may have asked yet.
   */
  #listen(): void {
    const now = Date.now();
    if (this.#pinged === undefined && now - this.#heard >= this.#heartbeat) {
      this.#pinged = now;
      this.#write({ type: "ping" });
    }
    const since = this.#pinged ?? this.#heard;
    if (now - since >= this.#heartbeat) return this.#lost("the server shows no sign of life");
    this.#timer = setTimeout(() => this.#listen(), since + this.#heartbeat - now);
  }

  #lost(reason: string): void {
    if (this.#state.is === "online" && Date.now() - this.#since >= HEALTHY) this.#failures = 0;
    this.#drop();
    const wait = (this.#options.backoff ?? backoff)(this.#failures++, this.#wait);
    this.#wait = 0;
    this.#timer = setTimeout(() => this.#open(), wait);
    this.#enter({ is: "waiting", retryAt: Date.now() + wait, reason });
    this.#fail("lost", reason);
  }

  #end(state: State & { is: "closed" }): void {
    globalThis.removeEventListener?.("online", this.#onWake);
    globalThis.document?.removeEventListener("visibilitychange", this.#onWake);
    this.#drop();
    this.#enter(state);
    this.#fail(state.code, state.reason);
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #fail(code: string, reason: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new HubbubError(code, reason));
  }
}

/** A key that no other message has. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Waits for what does not fail, or for an abort. */
function waited(what: Promise<unknown>, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal!.reason);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort);
    void what.then(() => (signal?.removeEventListener("abort", onAbort), resolve()));
  });
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => (clearTimeout(timer), reject(signal!.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", onAbort), resolve()), ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
