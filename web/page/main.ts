import { Chat } from "./chat.ts";
import { Directory } from "./directory.ts";
import { bdi, h, mark, put } from "./dom.ts";
import { Entrance } from "./entrance.ts";
import * as keep from "./keep.ts";
import { mountNotices, toast } from "./notices.ts";
import { RoomPane } from "./room-pane.ts";
import { go, href, route } from "./route.ts";
import { Sidebar } from "./sidebar.ts";
import { asSaid } from "./words.ts";
import { Accounts, Client, asHubbubError } from "../sdk/index.ts";

const app = document.getElementById("app")!;
const accounts = new Accounts(location.origin);

/** What is under way for whoever is in; ended when they go. */
let leave: (() => void) | undefined;

function comeIn(why?: string): void {
  const wasIn = !!leave;
  leave?.();
  leave = undefined;
  document.title = "Hubbub";
  put(app, new Entrance(accounts, (token) => {
    keep.token.set(token);
    void enter(token);
  }, why, !why && route().at === "room").element);
  // What had the focus is gone.
  if (wasIn) app.querySelector("input")?.focus();
}

const ENDED = "Your session has ended. Log in again, and you are where you were.";
const BANNED = "You were banned from this server by its operator.";

/** Where somebody was before they logged out is nothing to who comes next. */
function forgetPlace(): void {
  history.replaceState(null, "", href({ at: "home" }));
}

/** No more in the browser, unless it keeps another session by now: another tab may have let somebody in. */
function forget(token: string): void {
  if (keep.token.get() === token) keep.token.set(undefined);
}

async function enter(token: string): Promise<void> {
  leave?.();
  const client = new Client({ url: location.origin, token, client: "hubbub-page" });
  leave = () => client.close();
  let waiting: ReturnType<typeof setTimeout> | undefined = setTimeout(() => put(app, opening(client)), 300);
  try {
    const welcome = await client.connect();
    clearTimeout(waiting);
    waiting = undefined;
    show(new Chat(client, welcome, token));
  } catch (error) {
    clearTimeout(waiting);
    if (asHubbubError(error).code !== "unauthorized") return;
    forget(token);
    comeIn(ENDED);
  }
}

/** Before the first connection: that it is on its way, or why it is not. */
function opening(client: Client): HTMLElement {
  const words = h("p", { class: "soft", role: "status" }, "Opening…");
  const again = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => client.wake() }, "Try now");
  client.on("state", (state) => {
    again.hidden = state.is !== "waiting";
    put(words, state.is === "waiting" ? "The server can’t be reached. It is tried again and again." : "Opening…");
  });
  return h("main", { class: "entrance" }, h("div", { class: "opening" }, mark(), words, again));
}

function show(chat: Chat): void {
  const { client, token } = chat;
  let pane: RoomPane | Directory | undefined;
  let banned = false;
  const sidebar = new Sidebar(chat, () => void logOut());
  const stage = h("div", { class: "stage" });
  const shell = h("div", { class: "shell" }, sidebar.element, stage);

  /** As `shell.css` has it. */
  const narrow = matchMedia("(max-width: 719px)");
  const onWidth = () => { sidebar.alone = narrow.matches && route().at === "home"; };
  const onRoute = () => {
    const to = route();
    shell.dataset["at"] = to.at;
    onWidth();
    if (to.at === "room" && pane instanceof RoomPane && pane.id === to.id) {
      if (to.seq) pane.to(to.seq);
      return;
    }
    pane?.close();
    pane = to.at === "room" ? new RoomPane(chat, to.id, to.seq) : new Directory(chat);
    sidebar.here = to.at === "room" ? to.id : undefined;
    put(stage, pane.element);
  };

  const onKey = (event: KeyboardEvent) => {
    if (document.querySelector("dialog[open]")) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "k") sidebar.focusFilter();
    else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const id = sidebar.neighbor(event.key === "ArrowDown" ? 1 : -1);
      if (id) go({ at: "room", id });
    } else if (event.key !== "Escape" || !(pane instanceof RoomPane && pane.escape())) return;
    event.preventDefault();
  };

  /** Another tab of this session logged out; that somebody else did is nothing to us. */
  const onStorage = (event: StorageEvent) => {
    chat.onStorage(event);
    if (event.key === keep.token.key && event.newValue === null && event.oldValue === token) {
      forgetPlace();
      comeIn("You logged out in another tab.");
    }
  };

  const logOut = async () => {
    forget(token);
    forgetPlace();
    comeIn();
    // Called back, so that nobody can use it who may have it; without the server it ends by itself.
    await accounts.logOut(token).catch(() => {});
  };

  const stops = [
    client.on("state", (state) => {
      if (state.is !== "closed" || state.code !== "unauthorized") return;
      forget(token);
      comeIn(banned ? BANNED : ENDED);
    }),
    client.on("bye", ({ reason }) => { banned = reason === "banned"; }),
    client.on("token", () => toast("Your session ends in a moment. You will be asked to log in again; nothing that you wrote is lost.")),
    client.on("refused", (error) => { if (error.code !== "not_member") toast(asSaid(error)); }),
    chat.on("entry", (entry) => {
      if (entry.type !== "leave" || !entry.by || entry.user.id !== chat.me.id) return;
      toast(bdi(entry.by.name), " removed you from ", bdi(chat.rooms.get(entry.room)?.name ?? "a room"));
    }),
    chat.on("made", (room) => { if (room.owner !== chat.me.id && route().at !== "room") toast("A new room: ", h("bdi", {}, room.name)); }),
  ];
  narrow.addEventListener("change", onWidth);
  window.addEventListener("hashchange", onRoute);
  window.addEventListener("keydown", onKey);
  window.addEventListener("storage", onStorage);
  leave = () => {
    for (const stop of stops) stop();
    narrow.removeEventListener("change", onWidth);
    window.removeEventListener("hashchange", onRoute);
    window.removeEventListener("keydown", onKey);
    window.removeEventListener("storage", onStorage);
    pane?.close();
    client.close();
  };
  client.watch(true).catch(() => {});
  put(app, shell);
  onRoute();
}

// A browser opens a file that is dropped on it in place of the page: wherever it falls, it must not.
for (const type of ["dragover", "drop"] as const) {
  window.addEventListener(type, (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });
}

// What the browser had no room to keep is asked about before it is lost.
window.addEventListener("beforeunload", (event) => { if (keep.wouldBeLost()) event.preventDefault(); });

mountNotices();
const token = keep.token.get();
if (token) void enter(token);
else comeIn();
