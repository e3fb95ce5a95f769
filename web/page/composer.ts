import { commands, matching, type Command } from "./commands.ts";
import { h, iconButton, put } from "./dom.ts";
import { characters, number, plural } from "./format.ts";
import * as keep from "./keep.ts";
import { toast } from "./notices.ts";
import { pictureIn, toSend } from "./pictures.ts";
import type { Chat } from "./chat.ts";
import type { Content } from "../sdk/index.ts";

/** "Is writing" is said so often at most. */
const TYPING = 2_000;
/** From so near to the limit on, what is left is shown. */
const LEFT_SHOWN = 300;

/** Where one writes: a text, a picture, a command. */
export class Composer {
  readonly element: HTMLElement;
  #chat: Chat;
  #room: string;
  #send: (content: Content) => void;
  #text: HTMLTextAreaElement;
  #button: HTMLButtonElement;
  #left = h("p", { class: "left", id: "composer-left", role: "status" });
  #preview = h("div", { class: "preview", hidden: true });
  #options = h("ul", { class: "options", id: "composer-options", role: "listbox", "aria-label": "Commands", hidden: true });
  #found: Command[] = [];
  #chosen = 0;
  #told = 0;
  #saidUnkept = false;
  /** Both stay here while one looks into another room. */
  #kept: ReturnType<typeof keep.draft>;
  #keptPicture: ReturnType<typeof keep.picture>;

  constructor(chat: Chat, room: { id: string; name: string }, send: (content: Content) => void) {
    this.#chat = chat;
    this.#room = room.id;
    this.#send = send;
    this.#kept = keep.draft(chat.me.id, room.id);
    this.#keptPicture = keep.picture(chat.me.id, room.id);
    this.#text = h("textarea", {
      rows: 1, placeholder: "Write a message", "aria-label": `Message to ${room.name}`, "aria-describedby": "composer-left", dir: "auto",
      "aria-controls": "composer-options", "aria-autocomplete": "list",
      value: this.#kept.get() ?? "", enterKeyHint: "send",
      oninput: () => this.#onInput(),
      onkeydown: (event: KeyboardEvent) => this.#onKey(event),
      onpaste: (event: ClipboardEvent) => this.#onFiles(event, event.clipboardData?.files),
      onblur: () => setTimeout(() => this.#showOptions([]), 100),
    });
    const file = h("input", {
      type: "file", accept: "image/*", hidden: true, tabIndex: -1,
      onchange: (event: Event) => {
        this.#onFiles(event, file.files);
        file.value = "";
      },
    });
    this.#button = iconButton("send", "Send", () => this.#submit(), { class: "icon-button send" });
    this.element = h("form", { class: "composer", "aria-label": "Write", onsubmit: (event: Event) => { event.preventDefault(); this.#submit(); } },
      this.#options, this.#preview,
      h("div", { class: "composer-row" }, iconButton("image", "Send a picture", () => file.click()), file, this.#text, this.#button),
      this.#left);
    this.#showPreview();
    this.#show();
  }

  /** What was dropped anywhere on the room. */
  drop(event: DragEvent): void {
    this.#onFiles(event, event.dataTransfer?.files);
  }

  focus(): void {
    this.#text.focus({ preventScroll: true });
  }

  /** Its height follows its text; it has one only once it is in the page. */
  fit(): void {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }

  get #picture(): string | undefined { return this.#keptPicture.get(); }

  set #picture(picture: string | undefined) { this.#keepOr(this.#keptPicture.set(picture)); }

  /** Once, for what is written next is not kept either. */
  #keepOr(kept: boolean): void {
    if (!kept && !this.#saidUnkept) toast("The browser has no room left: what is written and not sent is lost when this page is closed or reloaded.");
    this.#saidUnkept = !kept;
  }

  #onInput(): void {
    this.#keepOr(this.#kept.set(this.#text.value || undefined));
    this.#show();
    void this.#complete();
    const now = Date.now();
    if (trimmed(this.#text.value) && !this.#text.value.startsWith("/") && now - this.#told > TYPING) {
      this.#told = now;
      this.#chat.client.typing(this.#room);
    }
  }

  #show(): void {
    this.fit();
    const { text_chars: max } = this.#chat.limits;
    const count = characters(trimmed(this.#text.value));
    const left = max - count;
    this.#left.classList.toggle("over", left < 0);
    put(this.#left, left < 0
      ? `${plural(-left, "character")} too many: a message has up to ${number(max)}.`
      : left <= LEFT_SHOWN ? `${plural(left, "character")} left` : "");
    this.#button.disabled = left < 0 || (count === 0 && !this.#picture);
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes, Enter belongs to it.
    if (event.isComposing) return;
    if (!this.#options.hidden && this.#onOptionKey(event)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    }
  }

  #submit(): void {
    if (this.#button.disabled) return;
    const text = trimmed(this.#text.value);
    const picture = this.#picture;
    // First, or the browser had to have room for it twice.
    this.#picture = undefined;
    this.#kept.set(undefined);
    if (picture) this.#send({ image: picture });
    if (text) this.#send({ text });
    this.#text.value = "";
    this.#told = 0;
    this.#showPreview();
    this.#showOptions([]);
    this.#show();
    this.focus();
  }

  #onFiles(event: Event, files: FileList | null | undefined): void {
    // A text that is pasted or dropped is none of ours.
    if (!files?.length) return;
    event.preventDefault();
    void this.#take(pictureIn(files));
  }

  async #take(file: File | undefined): Promise<void> {
    try {
      if (!file) throw new Error("Only pictures can be sent.");
      this.#picture = await toSend(file, this.#chat.limits.image_bytes);
    } catch (error) {
      toast((error as Error).message);
    }
    this.#showPreview();
    this.#show();
    this.focus();
  }

  #showPreview(): void {
    this.#preview.hidden = !this.#picture;
    put(this.#preview, this.#picture && [
      h("img", { src: this.#picture, alt: "The picture that you are about to send" }),
      iconButton("close", "Remove the picture", () => {
        this.#picture = undefined;
        this.#showPreview();
        this.#show();
        this.focus();
      }),
    ]);
  }

  async #complete(): Promise<void> {
    const text = this.#text.value;
    if (!text.startsWith("/") || text.includes("\n")) return this.#showOptions([]);
    const all = await commands(this.#chat.token);
    if (text === this.#text.value) this.#showOptions(matching(all, text));
  }

  #showOptions(found: Command[]): void {
    this.#found = found;
    this.#chosen = Math.min(this.#chosen, Math.max(0, found.length - 1));
    this.#options.hidden = found.length === 0;
    put(this.#options, found.map((one, at) => h("li", {
      role: "option", id: `option-${at}`, class: "option", "aria-selected": String(at === this.#chosen),
      onmousedown: (event: Event) => {
        event.preventDefault();
        this.#pick(one);
      },
    }, h("code", {}, one.usage), h("span", { class: "soft" }, one.about))));
    if (found.length > 0) this.#text.setAttribute("aria-activedescendant", `option-${this.#chosen}`);
    else this.#text.removeAttribute("aria-activedescendant");
  }

  #onOptionKey(event: KeyboardEvent): boolean {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#chosen = (this.#chosen + step + this.#found.length) % this.#found.length;
    else if (event.key === "Escape") {
      // This closes the list, and not what else Escape closes.
      event.stopPropagation();
      this.#found = [];
    } else if ((event.key === "Tab" && !event.shiftKey) || (event.key === "Enter" && !this.#text.value.includes("="))) return this.#pick(this.#found[this.#chosen]!);
    else return false;
    this.#showOptions(this.#found);
    return true;
  }

  /** Says whether there was anything to complete: if not, the key does what it does elsewhere. */
  #pick(one: Command): boolean {
    const { value } = this.#text;
    const picked = `/${one.command}${one.usage.includes("=") ? `=${value.includes("=") ? value.slice(value.indexOf("=") + 1) : ""}` : ""}`;
    if (picked === value) return false;
    this.#text.value = picked;
    this.#text.focus();
    this.#onInput();
    return true;
  }
}

/** Without what is blank to the server at both ends, which is one character more than to the browser. */
function trimmed(text: string): string {
  const blank = /[\s\u0085]/;
  let [from, to] = [0, text.length];
  while (from < to && blank.test(text[from]!)) from += 1;
  while (to > from && blank.test(text[to - 1]!)) to -= 1;
  return text.slice(from, to);
}
