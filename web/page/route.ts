/** Where the reader is: the part of the address behind `#`, which no server sees. */
export type Route = { at: "home" } | { at: "rooms" } | { at: "room"; id: string; seq?: number };

export function route(hash = location.hash): Route {
  const [, first, id, seq] = hash.replace(/^#/, "").split("/");
  if (first === "rooms") return { at: "rooms" };
  if (first === "r" && id && /^[\w-]{1,64}$/.test(id)) {
    return { at: "room", id, ...(seq && /^\d{1,15}$/.test(seq) && Number(seq) > 0 ? { seq: Number(seq) } : {}) };
  }
  return { at: "home" };
}

export function href(to: Route): string {
  if (to.at === "room") return `#/r/${to.id}${to.seq ? `/${to.seq}` : ""}`;
  return to.at === "rooms" ? "#/rooms" : "#/";
}

export function go(to: Route): void {
  location.hash = href(to);
}
