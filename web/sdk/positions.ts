/** What an entry is to what was seen before it. */
export type Arrival = "next" | "repeat" | "gap";

/** The last seq seen of each room that is followed: what `hello` resumes from. */
export class Positions {
  #seen: Map<string, number>;

  constructor(resume: Record<string, number> = {}) {
    this.#seen = new Map(Object.entries(resume));
  }

  /** The last seq seen of a room that is followed. */
  of(room: string): number | undefined {
    return this.#seen.get(room);
  }

  /** As `hello` carries them: the server takes a limited number. */
  toResume(max: number): Record<string, number> {
    return Object.fromEntries([...this.#seen].slice(-max));
  }

  /** The rooms that we are a member of. One that is new to us begins at its head, one that is missing is followed no more. */
  onWelcome(rooms: { id: string; head: number }[]): void {
    this.#seen = new Map(rooms.map(({ id, head }) => [id, this.#seen.get(id) ?? head]));
  }

  /** Our own join has this seq; what follows it comes live. */
  onJoined(room: string, seq: number): void {
    // One before it: its entry may come as well, before or after the answer.
    if (!this.#seen.has(room)) this.#seen.set(room, seq - 1);
  }

  onLeft(room: string): void {
    this.#seen.delete(room);
  }

  /** Takes an entry's place. After a gap the entry counts as seen: what is missing must be read. */
  onEntry(room: string, seq: number): Arrival {
    const last = this.#seen.get(room);
    if (last !== undefined && seq <= last) return "repeat";
    this.#seen.set(room, seq);
    return last === undefined || seq === last + 1 ? "next" : "gap";
  }

  /** Up to here nothing more will be sent. */
  moveTo(room: string, seq: number): void {
    this.#seen.set(room, seq);
  }
}
