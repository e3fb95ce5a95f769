import { Emitter } from "./emitter.ts";
import { HubbubError } from "./errors.ts";
import type { Content, Entry, Kind, ListedRoom, Member, Opened, Page, Room, Sent, User, Welcome } from "./protocol.ts";
/** How the connection is. */
export type State = {
    is: "connecting";
} | {
    is: "online";
}
/** Lost; the next attempt is at `retryAt` (Unix milliseconds), or earlier by `wake`. */
 | {
    is: "waiting";
    retryAt: number;
    reason: string;
}
/** For good: `close()` was called or the token is not valid. `connect()` begins anew, from the same positions. */
 | {
    is: "closed";
    code: "closed" | "unauthorized";
    reason: string;
};
/** What a client tells its listeners. */
export interface Events {
    state: State;
    /** Let in: at the first connection, and after each reconnect. Entries that were missed follow. */
    welcome: Welcome;
    /** The next entry of a room: each once, ascending, without a gap that was not told as `behind`. */
    entry: Entry;
    /** Entries after `after` up to `head` were not sent: read them by `history`. */
    behind: {
        room: string;
        after: number;
        head: number;
    };
    /** The log is another one: forget what was read of the room. */
    reset: {
        room: string;
        head: number;
    };
    typing: {
        room: string;
        user: User;
        on: boolean;
    };
    /** Who came or went; in large rooms how many are there. */
    presence: {
        room: string;
        user?: User;
        online?: boolean;
        count?: number;
    };
    /** A room was made (after `watch(true)`). */
    room: {
        id: string;
        name: string;
        topic: string;
        owner: string;
    };
    /** The server closes the connection; we come back by ourselves. */
    bye: {
        reason: string;
        reconnect_after_ms?: number;
    };
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
type Frame = Record<string, any> & {
    type: string;
};
/** Aborted, a request rejects at once with the signal's reason. One that was sent already may be carried out nevertheless. */
type Asking = {
    signal?: AbortSignal;
};
/**
 * A connection that comes back by itself, resumes where it was, and sends each message once.
 *
 * Nothing is kept beyond the last seq of each room and what waits to be sent.
 */
export declare class Client extends Emitter<Events> {
    #private;
    constructor(options: Options);
    get state(): State;
    /** The last `welcome`: who we are, and the limits. */
    get welcome(): Welcome | undefined;
    /** The last seq seen of each room: `resume` of a client that goes on where this one was. */
    get positions(): Record<string, number>;
    /** Connects, and stays connected. Resolves with the first `welcome`; rejects when it is closed before. */
    connect(): Promise<Welcome>;
    /** Ends the connection. What waits is rejected with `closed`. */
    close(): void;
    /** A fresh token: told to the server at once, and used from now on. */
    setToken(token: string): void;
    /** Attempts to connect now, or makes sure that the connection still lives. Called when the browser comes back by itself. */
    wake(): void;
    /** The directory, the newest first. `limit`: 1 to 200. */
    rooms(page?: {
        cursor?: string;
        limit?: number;
    }, asking?: Asking): Promise<{
        rooms: ListedRoom[];
        next?: string;
    }>;
    /** Makes a room; with the same `key` it is the same room. Name: 1 to 80 characters, topic: up to 256. */
    create(room: {
        name: string;
        topic?: string;
        key?: string;
    }, asking?: Asking): Promise<Room>;
    /** Becomes a member. Joining again gives the first `seq`. */
    join(room: string, asking?: Asking): Promise<{
        seq: number;
    }>;
    /** Is a member no more. Without `seq` where it was done by a try whose answer was lost. */
    leave(room: string, asking?: Asking): Promise<{
        seq?: number;
    }>;
    /** Removes a member: for the owner. Without `seq` where it was done by a try whose answer was lost. */
    kick(room: string, user: string, asking?: Asking): Promise<{
        seq?: number;
    }>;
    /** Sets the topic: for the owner. Where an answer was lost it is set again, and the log has it twice. */
    topic(room: string, topic: string, asking?: Asking): Promise<{
        seq: number;
    }>;
    /** A room, its newest entries and first members. To a member, what follows live begins at `room.head` + 1. */
    open(room: string, page?: {
        limit?: number;
    }, asking?: Asking): Promise<Opened>;
    /** A page of a room's log before or after a seq. `limit`: 1 to 1,000. */
    history(room: string, page: ({
        before: number;
    } | {
        after: number;
    }) & {
        limit?: number;
        kinds?: Kind[];
    }, asking?: Asking): Promise<Page>;
    members(room: string, page?: {
        cursor?: string;
        limit?: number;
    }, asking?: Asking): Promise<{
        members: Member[];
        next?: string;
    }>;
    /** Hears of every room that is made, also after a reconnect; or no more. */
    watch(directory: boolean): Promise<void>;
    /** Says that we write: best effort, and nothing while there is no connection. */
    typing(room: string, on?: boolean): void;
    /**
     * Sends a message: resolves when it is kept.
     *
     * It waits for the connection as long as that takes, and is sent again with the same key until it is answered, so it is in
     * the room once. What is sent to one room arrives there in the order of the calls. Rejects when the server refuses it, or
     * has been `unavailable` five times in a row: then it may be in the room nevertheless, and is to be sent again with the
     * same `key` and `after`. Aborted by `signal` it rejects at once, and may be in the room as well if it was under way.
     */
    send(room: string, content: Content, how?: Asking & {
        key?: string;
        after?: number;
    }): Promise<Sent>;
    /** One request on the connection there is now, sent once; for what has no method here. Rejects with `lost` without one. */
    request<T extends object = Frame>(body: {
        type: string;
        [field: string]: unknown;
    }): Promise<T>;
}
/** A key that no other message has. */
export declare function newKey(): string;
export {};
