/** Typed listeners. One that throws does not keep the others from hearing. */
export declare class Emitter<Events> {
    #private;
    /** Listens, until the function that comes back is called. */
    on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void;
    protected emit<K extends keyof Events>(type: K, event: Events[K]): void;
}
