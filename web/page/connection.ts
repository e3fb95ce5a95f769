import { focusAgain, h, put } from "./dom.ts";
import type { Chat } from "./chat.ts";
import type { State } from "../sdk/index.ts";

/** Short trouble is not worth a banner: it is over before it is read. */
const PATIENCE = 1_200;

const WORDS: Record<State["is"], string> = { online: "Online", connecting: "Connecting…", waiting: "Offline", closed: "Offline" };

/** A point and a word: always there. */
export function connectionChip(chat: Chat): { element: HTMLElement; stop: () => void } {
  const word = h("span", { class: "chip-word" });
  const element = h("span", { class: "chip", role: "status" }, h("span", { class: "dot" }), word);
  const show = () => {
    element.dataset["state"] = chat.client.state.is;
    put(word, WORDS[chat.client.state.is]);
  };
  show();
  return { element, stop: chat.client.on("state", show) };
}

/** What to do meanwhile: shown while the connection is away for longer than a moment. */
export function connectionBanner(chat: Chat): { element: HTMLElement; stop: () => void } {
  const words = h("span", {});
  const again = h("button", { type: "button", class: "link", onclick: () => chat.client.wake() }, "Try now");
  const element = h("div", { class: "banner", role: "status", hidden: true }, words, again);
  let patience: ReturnType<typeof setTimeout> | undefined;
  let ticking: ReturnType<typeof setInterval> | undefined;

  const tick = () => {
    const { state } = chat.client;
    const seconds = state.is === "waiting" ? Math.ceil((state.retryAt - Date.now()) / 1_000) : 0;
    const waiting = chat.outbox.waiting;
    const kept = waiting === 0 ? "You can go on writing" : waiting === 1 ? "Your message waits here" : `Your ${waiting} messages wait here`;
    put(words, `You’re offline. ${kept}, and all of it goes out once the connection is back. `, seconds > 1 ? `Next try in ${seconds} s. ` : "Trying again… ");
  };
  const rest = () => {
    clearTimeout(patience);
    clearInterval(ticking);
    patience = ticking = undefined;
  };
  const show = () => {
    const away = chat.client.state.is !== "online";
    if (!away) {
      rest();
      const focused = element.contains(document.activeElement);
      element.hidden = true;
      if (focused) focusAgain(undefined);
    } else if (!patience) {
      patience = setTimeout(() => {
        element.hidden = false;
        tick();
        ticking = setInterval(tick, 500);
      }, PATIENCE);
    }
  };
  const stopListening = chat.client.on("state", show);
  show();
  return { element, stop: () => (stopListening(), rest()) };
}
