/** Typed listeners. One that throws does not keep the others from hearing. */
export class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Listens, until the function that comes back is called. */
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all);
    all.add(listener);
    return () => void all.delete(listener);
  }

  protected emit<K extends keyof Events>(type: K, event: Events[K]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        (listener as (event: Events[K]) => void)(event);
      } catch (error) {
        // As if it had been thrown in a task of its own: the surroundings report it.
        queueMicrotask(() => { throw error; });
      }
    }
  }
}
