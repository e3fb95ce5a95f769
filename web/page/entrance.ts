import { bounded } from "./bounded.ts";
import { bdi, h, mark, put } from "./dom.ts";
import { asSaid } from "./words.ts";
import { Accounts, asHubbubError } from "../sdk/index.ts";

type Way = "login" | "register" | "token";

/** Where people come in: they log in, make an account, or bring a token of another service. */
export class Entrance {
  readonly element: HTMLElement;
  #accounts: Accounts;
  #onToken: (token: string) => void;
  #card = h("div", { class: "card" });
  #way: Way = "login";
  #email = "";

  /** `why`: what happened before, if somebody was logged in. `toRoom`: a link to a room brought them here. */
  constructor(accounts: Accounts, onToken: (token: string) => void, why?: string, toRoom = false) {
    this.#accounts = accounts;
    this.#onToken = onToken;
    const lead = toRoom ? "You were sent a link to a room. Log in, and you are there." : "Rooms for many people at once. What is said stays said.";
    this.element = h("main", { class: "entrance" },
      h("div", { class: "entrance-inner" },
        h("h1", { class: "brand" }, mark(), "Hubbub"),
        h("p", { class: "lead" }, lead),
        why && h("p", { class: "note", role: "status" }, why),
        this.#card,
        h("p", { class: "small" }, h("a", { href: "/api" }, "For developers"), " · ", h("a", { href: "/status" }, "Status")),
      ));
    this.#show("login");
    this.#look();
  }

  /** Whether accounts are here or elsewhere. Until that is known, and when it can't be, they are taken to be here. */
  async #look(): Promise<void> {
    const builtIn = await this.#accounts.builtIn().catch(() => true);
    if (!builtIn) this.#show("token");
  }

  #show(way: Way): void {
    this.#way = way;
    if (way === "token") return this.#showToken();
    const isNew = way === "register";
    const tab = (to: Way, label: string) => h("button", {
      type: "button", role: "tab", class: "tab", id: `tab-${to}`, "aria-selected": String(to === way), "aria-controls": "account",
      tabIndex: to === way ? 0 : -1,
      onclick: () => this.#switch(to),
      onkeydown: (event: KeyboardEvent) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        this.#switch(isNew ? "login" : "register");
        this.#card.querySelector<HTMLElement>("[aria-selected=true]")?.focus();
      },
    }, label);
    const name = field("Name", "text", { name: "name", autocomplete: "nickname", required: true });
    bounded(name.input, 80);
    const email = field("Email", "email", { name: "email", autocomplete: "username", required: true, value: this.#email });
    const password = field("Password", "password", {
      name: "password", autocomplete: isNew ? "new-password" : "current-password", required: true, ...(isNew ? { minLength: 8 } : {}),
    }, isNew ? "8 characters or more" : undefined);
    email.input.addEventListener("input", () => { this.#email = email.input.value; });
    const submit = async () => {
      const account = { email: email.input.value.trim(), password: password.input.value };
      if (isNew) await this.#accounts.register({ name: name.input.value.trim(), ...account });
      this.#onToken(await this.#accounts.logIn(account));
    };
    put(this.#card,
      h("div", { class: "tabs", role: "tablist", "aria-label": "Log in or make an account" }, tab("login", "Log in"), tab("register", "Create account")),
      h("div", { id: "account", role: "tabpanel", "aria-labelledby": `tab-${way}` },
        form(isNew ? "Create account" : "Log in", submit, (error) => this.#explain(error), {}, isNew && name.row, email.row, password.row)));
  }

  #switch(to: Way): void {
    if (to === this.#way) return;
    this.#show(to);
    const empty = [...this.#card.querySelectorAll("input")].find((input) => !input.value);
    empty?.focus();
  }

  #showToken(): void {
    const token = field("Access token", "password", { name: "token", autocomplete: "off", required: true });
    put(this.#card,
      h("h2", {}, "Come in with a token"),
      h("p", { class: "soft" }, "People of this server have their accounts at another service. Log in there, and paste the access token that it gave you."),
      form("Come in", async () => this.#onToken(token.input.value.trim()), (error) => asSaid(error), {}, token.row));
  }

  #explain(caught: unknown): (Node | string)[] | string {
    const error = asHubbubError(caught);
    const link = (label: string, to: Way) => h("button", { type: "button", class: "link", onclick: () => this.#switch(to) }, label);
    if (error.code === "unauthorized") return "That address and password don’t belong together. Check both and try again.";
    if (error.code === "conflict") {
      return ["There is an account with ", bdi(this.#email), " already. ", link("Log in instead", "login")];
    }
    if (error.code === "accounts_elsewhere") this.#show("token");
    return asSaid(error);
  }
}

function field(label: string, type: string, props: Record<string, unknown>, hint?: string) {
  const id = `field-${props["name"]}`;
  const input = h("input", { id, type, ...props, ...(hint ? { "aria-describedby": `${id}-hint` } : {}) });
  const row = h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
  return { input, row };
}

/** A form whose button waits for its end, and which says what went wrong in its own words. */
export function form(
  label: string,
  submit: () => Promise<void>,
  explain: (error: unknown) => (Node | string)[] | string,
  props: Record<string, unknown>,
  ...rows: (Node | false | undefined)[]
): HTMLFormElement {
  const problem = h("p", { class: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, label);
  const element: HTMLFormElement = h("form", {
    ...props,
    async onsubmit(event: Event) {
      event.preventDefault();
      if (button.getAttribute("aria-busy")) return;
      put(problem);
      button.setAttribute("aria-busy", "true");
      try {
        await submit();
      } catch (error) {
        put(problem, explain(error));
      }
      button.removeAttribute("aria-busy");
    },
  }, ...rows, problem, button);
  return element;
}
