// A page's connection to the real server, in the test's hand: what the server says can wait, be another thing, or be made up.
export const WAIT = Symbol("it waits until `release`");

export class Wire {
  /** What the page asked, in its order. */
  asked = [];
  /** What becomes of what the server says, given what it answers to: it or something else goes on, nothing, or `WAIT`. */
  rule = (said) => said;
  #page;
  #server;
  #waiting = [];

  /** Before the page connects. */
  static async of(page) {
    const wire = new Wire();
    await page.routeWebSocket("**/v1/ws", (socket) => wire.#carry(socket));
    return wire;
  }

  get waiting() { return this.#waiting.length; }

  /** What waited goes on in its order, and what comes from now on as it comes. */
  release() {
    this.rule = (said) => said;
    for (const said of this.#waiting.splice(0)) this.say(said);
  }

  /** As if the server had said it. */
  say(frame) { this.#page.send(JSON.stringify(frame)); }

  /** The connection is lost; the page comes back by itself. */
  async cut() {
    await Promise.all([this.#server.close(), this.#page.close()]);
  }

  #carry(page) {
    const server = page.connectToServer();
    [this.#page, this.#server] = [page, server];
    const requests = new Map();
    page.onMessage((text) => {
      const request = JSON.parse(text);
      this.asked.push(request);
      requests.set(request.ref, request);
      server.send(text);
    });
    server.onMessage((text) => {
      const said = JSON.parse(text);
      const left = this.rule(said, requests.get(said.ref) ?? {});
      if (left === WAIT) this.#waiting.push(said);
      else if (left) this.say(left);
    });
  }
}
