import { focusAgain, h, iconButton, type Child } from "./dom.ts";
import { form } from "./entrance.ts";
import { asSaid } from "./words.ts";

/** Short words at the foot of the page, and for who hears it: gone by themselves. */
const toasts = h("div", { class: "toasts", role: "status" });
/** What is heard and not seen. */
const voice = h("div", { class: "heard", role: "log", "aria-live": "polite", "aria-label": "New messages" });
const SHOWN = 5_000;
const HEARD = 5;

export function mountNotices(): void {
  document.body.append(toasts, voice);
}

export function toast(...words: Child[]): void {
  const one = h("p", { class: "toast" }, ...words);
  toasts.append(one);
  if (toasts.childElementCount > 3) toasts.firstElementChild?.remove();
  setTimeout(() => one.remove(), SHOWN);
}

/** Says a new message to who listens to the page. */
export function say(text: string): void {
  voice.append(h("p", {}, text));
  while (voice.childElementCount > HEARD) voice.firstElementChild?.remove();
}

/** A dialog with a form; it closes when that succeeds. */
export function dialog(title: string, label: string, submit: () => Promise<void>, ...rows: (Node | false | undefined)[]): void {
  const heading = h("h2", { id: "dialog-title" }, title);
  const opener = document.activeElement as HTMLElement | null;
  const onclose = () => {
    box.remove();
    // The browser gives the focus back, unless what had it was drawn anew meanwhile.
    if (opener && !opener.isConnected && document.activeElement === document.body) focusAgain(opener.dataset["key"]);
  };
  const box: HTMLDialogElement = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title", onclose },
    h("header", {}, heading, iconButton("close", "Close", () => box.close())),
    form(label, async () => {
      await submit();
      box.close();
    }, (error) => asSaid(error), {}, ...rows));
  // A press beside it closes it.
  box.addEventListener("mousedown", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  // Not the button that closes it, which comes first.
  box.querySelector("input")?.focus();
}

/** A row of a dialog. */
export function input(label: string, props: Record<string, unknown>): { row: HTMLElement; input: HTMLInputElement } {
  const id = `dialog-${props["name"]}`;
  const element = h("input", { id, type: "text", autocomplete: "off", ...props });
  return { row: h("div", { class: "field" }, h("label", { for: id }, label), element), input: element };
}

