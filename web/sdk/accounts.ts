import { HubbubError } from "./errors.ts";

/** The server's own accounts, over HTTP. Nothing is kept: what becomes of a token is the caller's decision. */
export class Accounts {
  #base: string;

  /** `url`: where the server is, such as `https://chat.example`. */
  constructor(url: string | URL) {
    this.#base = new URL("/v1/accounts", url).href;
  }

  /** Whether people register and log in here, or their tokens come from another service. */
  async builtIn(signal?: AbortSignal): Promise<boolean> {
    return (await this.#ask<{ built_in: boolean }>("GET", "", { signal })).built_in;
  }

  /** Makes an account. Password: 8 to 256 bytes. */
  register(account: { name: string; email: string; password: string }): Promise<{ id: string; name: string }> {
    return this.#ask("POST", "", { body: account });
  }

  /** An access token. */
  async logIn(account: { email: string; password: string }): Promise<string> {
    return (await this.#ask<{ token: string }>("POST", "/login", { body: account })).token;
  }

  /** Calls a token back: it is refused from now on, and its connections are closed. */
  async logOut(token: string): Promise<void> {
    await this.#ask("POST", "/logout", { token });
  }

  async #ask<T>(method: string, path: string, how: { body?: object; token?: string; signal?: AbortSignal }): Promise<T> {
    const headers: Record<string, string> = {};
    if (how.body) headers["content-type"] = "application/json";
    if (how.token) headers["authorization"] = `Bearer ${how.token}`;
    let response: Response;
    try {
      const body = how.body && JSON.stringify(how.body);
      response = await fetch(this.#base + path, { method, headers, body, signal: how.signal });
    } catch (error) {
      how.signal?.throwIfAborted();
      throw new HubbubError("lost", "the server can't be reached");
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const { code, detail, title, field, retry_after_ms, type } = answer;
    // A kind of problem that is no code of the protocol, but that a program may want to tell apart.
    const elsewhere = typeof type === "string" && type.endsWith("/accounts_elsewhere");
    const said = elsewhere ? "accounts_elsewhere" : code ?? (response.status < 500 ? "bad_request" : "unavailable");
    throw new HubbubError(said, detail ?? title ?? `the server answered ${response.status}`, field, retry_after_ms);
  }
}
