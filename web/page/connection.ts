import { focusAgain, h, patch } from "./dom.ts";
import type { Chat } from "./chat.ts";
import type { State } from "../sdk/index.ts";

/** Short trouble is not worth a banner: it is over before it is read. */
const PATIENCE = 1_200;

const WORDS: Record<State["is"], string> = { online: "Online", connecting: "Connecting…", waiting: "Offline", closed: "Offline" };

/**
 * A point and a word: always there. One of them is `live`: it is said by a screen reader when it changes, though not that it is
 * tried again, which would be said again and again.
 */
export function connectionChip(chat: Chat, live: boolean): { element: HTMLElement; stop: () => void } {
  const word = h("span", { class: "chip-word", ...(live && { "aria-hidden": "true" }) });
  const said = live && h("span", { class: "heard", role: "status" });
  const element = h("span", { class: "chip" }, h("span", { class: "dot" }), word, said);
  const show = () => {
    const { is } = chat.client.state;
    element.dataset["state"] = is;
    patch(word, WORDS[is]);
    if (said && is !== "connecting") patch(said, WORDS[is]);
  };
  show();
  return { element, stop: chat.client.on("state", show) };
}

/** What to do meanwhile: shown while the connection is away for longer than a moment. */
export function connectionBanner(chat: Chat): { element: HTMLElement; stop: () => void } {
  const words = h("span", { role: "status" });
  /** Seconds that are counted down are for the eyes: they are outside of what is said as it changes. */
  const countdown = h("span", {});
  const again = h("button", { type: "button", class: "link", onclick: () => chat.client.wake() }, "Try now");
  const element = h("div", { class: "banner", hidden: true }, words, countdown, again);
  let patience: ReturnType<typeof setTimeout> | undefined;
  let ticking: ReturnType<typeof setInterval> | undefined;

  const tick = () => {
    const { state } = chat.client;
    const seconds = state.is === "waiting" ? Math.ceil((state.retryAt - Date.now()) / 1_000) : 0;
    const waiting = chat.outbox.waiting;
    const kept = waiting === 0 ? "You can go on writing" : waiting === 1 ? "Your message waits here" : `Your ${waiting} messages wait here`;
    patch(words, `You’re offline. ${kept}, and all of it goes out once the connection is back. `);
    patch(countdown, seconds > 1 ? `Next try in ${seconds} s. ` : "Trying again… ");
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
      // The next time it is a change again.
      patch(words);
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
