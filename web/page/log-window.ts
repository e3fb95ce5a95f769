import { obeyed, type Entry, type Erase } from "../sdk/index.ts";

/** So many entries are kept and shown at once; a reader who goes on leaves the other end behind. */
export const ENTRIES_MAX = 400;
/** And so many characters of them, for pictures are long. */
const CHARS_MAX = 12_000_000;

/**
 * The part of a room's log that is shown: entries without a gap between them.
 *
 * While it is `live` its last entry is the log's last, and what comes is put behind it. Bounded, however long the log is.
 */
export class LogWindow {
  #entries: Entry[] = [];
  #chars = 0;
  live = false;
  /** Where the log begins: what was before is not kept. */
  begins = 1;

  get entries(): readonly Entry[] { return this.#entries; }
  get first(): number { return this.#entries[0]?.seq ?? 0; }
  get last(): number { return this.#entries.at(-1)?.seq ?? 0; }
  /** Whether there is nothing older. */
  get whole(): boolean { return this.first <= this.begins; }
  /** Whether something that was not read yet went meanwhile: then this part does not go on. */
  get lost(): boolean { return this.last + 1 < this.begins; }

  /** Takes what an answer or entry says of where the log begins. */
  startsAt(first: number | undefined): void {
    this.begins = Math.max(this.begins, first ?? 1);
  }

  /** Another part. */
  show(entries: Entry[], live: boolean): void {
    this.#entries = [...entries];
    this.#chars = entries.reduce((sum, entry) => sum + weight(entry), 0);
    this.live = live;
  }

  /** Whether one more goes in without another going out at the other end. */
  fits(entry: Entry): boolean {
    return this.#entries.length < ENTRIES_MAX && this.#chars + weight(entry) <= CHARS_MAX;
  }

  /** So many older entries are being read. If they won't fit, what comes meanwhile must not push out the entry that they go before. */
  awaits(older: number): void {
    if (this.#entries.length + older > ENTRIES_MAX) this.live = false;
  }

  /** Older entries; gives how many went at the other end. Those that do not end where this part begins are left out: there would be a gap. */
  before(older: Entry[]): number {
    const fitting = older.filter((entry) => this.#entries.length === 0 || entry.seq < this.first);
    if (this.#entries.length > 0 && fitting.at(-1)?.seq !== this.first - 1) return 0;
    this.#entries.unshift(...fitting);
    this.#count(fitting, 1);
    const gone = this.#excess(() => this.#entries.pop());
    if (gone > 0) this.live = false;
    return gone;
  }

  /** Newer entries; gives those that were new, and how many went at the start. */
  after(newer: Entry[]): { added: Entry[]; gone: number } {
    const added: Entry[] = [];
    for (const entry of newer) {
      if (this.#entries.length > 0 && entry.seq !== this.last + 1) continue;
      this.#entries.push(entry);
      added.push(entry);
    }
    this.#count(added, 1);
    return { added, gone: this.#excess(() => this.#entries.shift()) };
  }

  /** Forgets what an entry says is erased; gives the places of what changed. */
  obey(order: Erase): number[] {
    const changed: number[] = [];
    this.#entries = this.#entries.map((entry, at) => {
      const left = obeyed(entry, order);
      if (left !== entry && !(entry.type === "message" && entry.kind === "erased")) changed.push(at);
      return left;
    });
    this.#chars = this.#entries.reduce((sum, entry) => sum + weight(entry), 0);
    return changed;
  }

  #count(entries: Entry[], sign: number): void {
    for (const entry of entries) this.#chars += sign * weight(entry);
  }

  #excess(take: () => Entry | undefined): number {
    let gone = 0;
    while (this.#entries.length > 50 && (this.#entries.length > ENTRIES_MAX || this.#chars > CHARS_MAX)) {
      const entry = take();
      if (entry) this.#count([entry], -1);
      gone += 1;
    }
    return gone;
  }
}

function weight(entry: Entry): number {
  return entry.type === "message" ? (entry.text ?? entry.image ?? "").length : 0;
}
