/** What an entry is to what was seen before it. */
export type Arrival = "next" | "repeat" | "gap";
/** The last seq seen of each room that is followed: what `hello` resumes from. */
export declare class Positions {
    #private;
    constructor(resume?: Record<string, number>);
    /** The last seq seen of a room that is followed. */
    of(room: string): number | undefined;
    /** As `hello` carries them: the server takes a limited number. */
    toResume(max: number): Record<string, number>;
    /** The rooms that we are a member of. One that is new to us begins at its head, one that is missing is followed no more. */
    onWelcome(rooms: {
        id: string;
        head: number;
    }[]): void;
    /** Our own join has this seq; what follows it comes live. */
    onJoined(room: string, seq: number): void;
    onLeft(room: string): void;
    /** Takes an entry's place. After a gap the entry counts as seen: what is missing must be read. */
    onEntry(room: string, seq: number): Arrival;
    /** Up to here nothing more will be sent. */
    moveTo(room: string, seq: number): void;
}
