/** What the server says, as `docs/protocol.md` has it. Unknown fields may come and are passed on. */

/** Someone: the name is the one that they had at that moment. */
export interface User {
  id: string;
  name: string;
}

/** A room as `create` and `open` give it. */
export interface Room {
  id: string;
  name: string;
  topic: string;
  /** Id of its owner. */
  owner: string;
  /** Last seq of its log. */
  head: number;
  /** How many members it has. */
  members: number;
  /** How long its entries are kept, if not for ever. */
  retention?: Retention;
  /** Where its log begins, if entries before went. */
  first?: number;
}

/** How long a room's entries are kept: those beyond either bound go. Without a bound all are kept. */
export interface Retention {
  /** The newest entries, so many. */
  entries?: number;
  /** Those that are younger than so many days. */
  days?: number;
}

/** A room as the directory lists it. */
export interface ListedRoom {
  id: string;
  name: string;
  topic: string;
  owner: string;
  members: number;
  /** Unix milliseconds. */
  created_at?: number;
}

/** A member, and whether they have a connection. */
export interface Member extends User {
  online: boolean;
}

interface Placed {
  room: string;
  /** Its place in the room's log: 1, 2, 3 … without gaps. */
  seq: number;
  user: User;
  /** Unix milliseconds. */
  at: number;
}

/** A message. */
export interface Message extends Placed {
  type: "message";
  /** `erased`: what it said is gone, and it has neither text nor image. */
  kind: "text" | "link" | "image" | "bot" | "erased";
  text?: string;
  /** Data URL. */
  image?: string;
  /** Of a bot: it says what was wrong with a command. */
  error?: boolean;
  /** The key that it was sent with: on the sender's own connections only. */
  key?: string;
}

/** Somebody became a member. */
export interface Join extends Placed {
  type: "join";
}

/** Somebody is a member no more. */
export interface Leave extends Placed {
  type: "leave";
  /** Who removed them. */
  by?: User;
}

/** The topic was set. */
export interface Topic extends Placed {
  type: "topic";
  topic: string;
}

/** All messages of `user` up to `upto` are erased: what is shown of them is to be blanked, as [`obeyed`] does. */
export interface Erase extends Placed {
  type: "erase";
  upto: number;
  /** Who had it done. */
  by?: User;
}

/** How long entries are kept from here on. */
export interface Retained extends Placed {
  type: "retention";
  retention: Retention;
  /** The log begins here: what was before is gone. */
  first?: number;
}

/** One element of a room's log. */
export type Entry = Message | Join | Leave | Topic | Erase | Retained;

/** What a client may send. */
export interface Limits {
  text_chars: number;
  /** Of the picture itself, before base64. */
  image_bytes: number;
  frame_bytes: number;
  sends_per_second: number;
  requests_in_flight: number;
  resume_entries: number;
  rooms: number;
}

/** The answer to `hello`. */
export interface Welcome {
  user: User & { roles: string[] };
  /** The rooms that this connection is sent from here on. The topic is left out where all of them would be too long; `open` has it. */
  rooms: { id: string; name: string; topic?: string; head: number }[];
  /** Which log the seqs are of; told again with them in a resume. */
  log?: string;
  limits: Limits;
  /** Seconds. */
  heartbeat: number;
}

/** A page of a log, ascending. */
export interface Page {
  entries: Entry[];
  more: boolean;
  /** Where to go on: as `before` or `after`. */
  next?: number;
  /** Where the log begins, if entries before went: a page that begins later than it was asked for begins there. */
  first?: number;
}

/** A room with its newest entries and first members. */
export interface Opened {
  room: Room;
  members: Member[];
  entries: Entry[];
}

/** A message that is kept; or a command that a bot has been given. */
export interface Sent {
  seq?: number;
  at?: number;
  durability?: string;
  /** Id of the command, when the text was one: then there is no `seq`. */
  command?: string;
  /** A text for us alone: what `/help` is answered by. */
  notice?: string;
}

/** Kinds of entries that `history` can be asked for. */
export type Kind = "message" | "join" | "leave" | "topic" | "erase" | "retention" | "text" | "link" | "image" | "bot" | "erased";

/** What to say. */
export type Content = { text: string } | { image: string };
